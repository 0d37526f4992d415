"""Search with jmd_imagescraper's own function, through a session with a time limit."""

import json
import re
import time
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlencode, urlsplit

from .download import Fetcher
from .links import FetchError, Link
from .network_guard import PORTS
from .query import DUCKDUCKGO, SearchError, SearchRefused, replaced

# DuckDuckGo binds its token to the user agent that requested it, and accepts browsers only.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
REFUSALS = (202, 401, 403, 418, 429, 503)  # HTTP statuses; 202 is the "anomaly" page, a captcha
_QUOTE = r"(?:\\?[\"']|&quot;|%22)?"
_TOKEN = re.compile(rf"vqd{_QUOTE}\s*(?:=|:|%3D)\s*{_QUOTE}(\d[\d-]*)", re.IGNORECASE)


def by_jmd(query, deadline):
    """Search with jmd_imagescraper's `duckduckgo_scrape_urls`; see `search.search`."""
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
    """Replaces `requests` in jmd_imagescraper during one call: one user agent, any quoting of the token, no retries.

    It records titles and pages, which jmd_imagescraper discards. If the search engine fails after a page of results,
    it ends the results instead of raising an error, so that this page is kept.
    """

    def __init__(self, query, fetcher, deadline):
        self.query = query
        self.fetcher = fetcher
        self.deadline = deadline
        self.results = {}  # by the addresses of thumbnail and image
        self.count = 0
        self.note = ""

    def link(self, url, source):
        result = self.results.get(url, {})
        return Link(url, "", str(result.get("title") or ""), str(result.get("url") or ""), source)

    def post(self, url, data):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        page = self._ask(url, "POST", headers, urlencode(data).encode())
        token = _TOKEN.search(page)
        if not token:
            raise SearchError("The search engine's page has changed: it contains no token")
        return SimpleNamespace(text=f"vqd={token[1]}&")  # the only form that jmd_imagescraper reads

    def get(self, url, headers, params):
        parts = urlsplit(url)
        asked = {
            **dict(params),
            **dict(parse_qsl(parts.query, keep_blank_values=True)),
        }  # the address of the next page takes precedence
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
                self.note = f"the search was interrupted after {self.count} links"
                return SimpleNamespace(text='{"results": []}')
            if isinstance(error, SearchError):
                raise
            # not a ValueError, because jmd_imagescraper would retry for ever
            raise SearchError("The search engine's response contains no results") from None

    def _mended(self, data):
        """Return `data` with complete results only, and without a next page if there are no new results."""
        if not isinstance(data, dict) or not isinstance(data.get("results"), list):
            raise SearchError("The search engine's response contains no results")
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
                raise FetchError("The time limit was exceeded.")
            response = self.fetcher.fetch(url, method, headers, content, seconds=left)
        except FetchError as error:
            raise SearchError(f"The search engine cannot be reached. {str(error).rstrip('.')}") from None
        if response.status in REFUSALS:
            raise SearchRefused(response.status, response.wait)
        if response.status != 200:
            raise SearchError(f"The search engine failed (HTTP status {response.status})")
        return response.body.decode("utf-8", errors="replace")
