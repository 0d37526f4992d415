"""Search with jmd_imagescraper's own function, over a session that ends in time."""

import json
import re
import time
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlencode, urlsplit

from .download import Fetcher
from .links import FetchError, Link
from .network_guard import PORTS
from .query import DUCKDUCKGO, SearchError, SearchRefused, replaced

# DuckDuckGo ties its token to the user agent that asked for it, and serves browsers only.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
REFUSALS = (202, 401, 403, 418, 429, 503)  # 202 is its "anomaly" page, a captcha
_QUOTE = r"(?:\\?[\"']|&quot;|%22)?"
_TOKEN = re.compile(rf"vqd{_QUOTE}\s*(?:=|:|%3D)\s*{_QUOTE}(\d[\d-]*)", re.IGNORECASE)


def by_jmd(query, deadline):
    """jmd_imagescraper's own `duckduckgo_scrape_urls`, over a session that ends in time and mends the token."""
    from jmd_imagescraper import core

    words = dict(keywords=query.words, max_results=query.number, **query.enums())
    mirror = urlsplit(query.endpoint)
    allowed = [] if query.endpoint == DUCKDUCKGO else [f"{mirror.hostname}:{mirror.port or PORTS[mirror.scheme]}"]
    with Fetcher(allowed, seconds=query.seconds) as fetcher:
        session = _Session(query, fetcher, deadline)
        with replaced(core, "requests", session):
            urls = core.duckduckgo_scrape_urls(**words)
    return [session.link(url, "jmd_imagescraper") for url in urls], session.note


class _Session:
    """The `requests` of jmd_imagescraper during one call: one user agent, any quoting of the token, no waiting.

    It remembers titles and pages, which jmd_imagescraper drops, and ends the results where the search engine breaks
    off after a page, so that the page is kept.
    """

    def __init__(self, query, fetcher, deadline):
        self.query, self.fetcher, self.deadline = query, fetcher, deadline
        self.results, self.count, self.note = {}, 0, ""  # results by thumbnail and by picture

    def link(self, url, source):
        result = self.results.get(url, {})
        return Link(url, "", str(result.get("title") or ""), str(result.get("url") or ""), source)

    def post(self, url, data):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        page = self._ask(url, "POST", headers, urlencode(data).encode())
        token = _TOKEN.search(page)
        if not token:
            raise SearchError("The search engine's page has changed: there is no token in it")
        return SimpleNamespace(text=f"vqd={token[1]}&")  # the one form that jmd_imagescraper reads

    def get(self, url, headers, params):
        parts = urlsplit(url)
        asked = {**dict(params), **dict(parse_qsl(parts.query, keep_blank_values=True))}  # the next page's address wins
        asked["p"] = "1" if self.query.safe else "-1"
        if self.query.licence and "license:" not in asked.get("f", ""):
            asked["f"] = f"{asked.get('f', '')},license:{self.query.licence}"
        try:
            data = json.loads(
                self._ask(f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(asked)}", "GET", headers)
            )
            return SimpleNamespace(text=json.dumps(self._mended(data)))
        except (SearchError, ValueError) as error:
            if self.count:
                self.note = f"the search broke off after {self.count}"
                return SimpleNamespace(text='{"results": []}')
            if isinstance(error, SearchError):
                raise
            # no ValueError: jmd_imagescraper would take it for a reason to ask again, for ever
            raise SearchError("The search engine sent something else than results") from None

    def _mended(self, data):
        """`data` as jmd_imagescraper needs it: each result complete, and no next page after one without news."""
        if not isinstance(data, dict) or not isinstance(data.get("results"), list):
            raise SearchError("The search engine sent something else than results")
        whole = [r for r in data["results"] if isinstance(r, dict) and r.get("thumbnail") and r.get("image")]
        news = [r for r in whole if r["thumbnail"] not in self.results and r["image"] not in self.results]
        self.count += len(news)
        for result in news:
            self.results[result["thumbnail"]] = self.results[result["image"]] = result
        following = {"next": data["next"]} if news and isinstance(data.get("next"), str) else {}
        return {"results": whole, **following}

    def _ask(self, url, method, headers, content=None):
        url = url.replace(DUCKDUCKGO, self.query.endpoint.rstrip("/"), 1)
        headers = {**{key.title(): value for key, value in headers.items()}, "User-Agent": BROWSER}
        left = self.deadline - time.monotonic()
        try:
            if left <= 0:
                raise FetchError("It was not done in time.")
            response = self.fetcher.fetch(url, method, headers, content, seconds=left)
        except FetchError as error:
            raise SearchError(f"The search engine cannot be reached. {str(error).rstrip('.')}") from None
        if response.status in REFUSALS:
            raise SearchRefused(response.status, response.wait)
        if response.status != 200:
            raise SearchError(f"The search engine is out of order (it answered {response.status})")
        return response.body.decode("utf-8", errors="replace")
