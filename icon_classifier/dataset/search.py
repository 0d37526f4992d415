"""Searching: a query becomes links. Two sources, tried in order; each ends in time, with links or with a sentence."""

import json
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .download import Fetcher
from .links import FetchError, Link, SourceError

DUCKDUCKGO = "https://duckduckgo.com"
PORTS = {"http": 80, "https": 443}
# DuckDuckGo ties its token to the user agent that asked for it, and serves browsers only.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
REFUSALS = (202, 401, 403, 418, 429, 503)  # 202 is its "anomaly" page, a captcha
OTHER_ROADS = (
    "without a search engine there are other roads: gather_from() takes a folder with one folder a name, a zip of "
    "such, or a CSV of addresses"
)
_QUOTE = r"(?:\\?[\"']|&quot;|%22)?"
_TOKEN = re.compile(rf"vqd{_QUOTE}\s*(?:=|:|%3D)\s*{_QUOTE}(\d[\d-]*)", re.IGNORECASE)
_lock = threading.Lock()  # jmd_imagescraper and ddgs are lent a session of ours; one search at a time


class SearchError(SourceError):
    """The search gave nothing that can be used; the message says why, and names the roads that need no search."""

    def __init__(self, what, roads=True):
        super().__init__(f"{what}; {OTHER_ROADS}." if roads else what)
        self.what = what


class SearchRefused(SearchError):
    """The search engine refuses this computer's address."""

    def __init__(self, status, wait=0):
        how_long = f"for {wait:.0f} s, it says" if wait else "as a rule for some minutes to some hours"
        super().__init__(f"The search engine refuses this computer's address (it answered {status}), {how_long}")


@dataclass
class Query:
    """What to search for. size, type, layout and color are names in jmd_imagescraper's enums (or their members).

    `number`: links wanted. `licence`: "", "Public", "Share", "ShareCommercially", "Modify" or "ModifyCommercially".
    `safe`: safe search. `endpoint`: stands in for https://duckduckgo.com. `seconds`: for the whole search.
    """

    words: str
    number: int = 150
    size: str = "Cached"  # the search engine's own thumbnails: small, and from one reliable host
    type: str = "Photo"
    layout: str = "Square"
    color: str = "All"
    licence: str = ""
    safe: bool = True
    endpoint: str = DUCKDUCKGO
    seconds: float = 10

    def __str__(self):
        """The words and the filters that are not as usual, as the manifest has them."""
        filters = [f"{field} {_name(getattr(self, field))}" for field in ("size", "type", "layout", "color", "licence")
                   if _name(getattr(self, field)) != getattr(Query, field)]  # fmt: skip
        filters += [] if self.safe else ["unsafe"]
        return f"{self.words} ({', '.join(filters)})" if filters else self.words

    def enums(self):
        """The four filters as members of jmd_imagescraper's enums; raise `SearchError` for one that is none."""
        from jmd_imagescraper.core import ImgColor, ImgLayout, ImgSize, ImgType

        members = {}
        for field, kind in (("size", ImgSize), ("type", ImgType), ("layout", ImgLayout), ("color", ImgColor)):
            name = _name(getattr(self, field))
            if name not in kind.__members__:
                value = getattr(self, field)
                raise SearchError(f"{field} is one of {', '.join(kind.__members__)}, not {value!r}.", roads=False)
            members[f"img_{field}"] = kind[name]
        return members


def _name(value):
    """The name of an enum's member, or `value` with a capital as those names have it."""
    name = value.name if isinstance(value, Enum) else str(value or "")
    return name[:1].upper() + name[1:]


def search(query, sources=None):
    """Return (links, note): what the first source of `sources` that works finds for a `Query`, [] where nothing is.

    A source is a function: it takes the query and a deadline (of time.monotonic), and returns the same or raises.
    `note` says in words what was not as it should be. Raises `SearchRefused` where the search engine refuses this
    address, or `SearchError`, within `query.seconds`.
    """
    began, failure = time.monotonic(), None
    sources = sources or SOURCES
    for left, source in zip(range(len(sources), 0, -1), sources, strict=True):
        seconds = (query.seconds - (time.monotonic() - began)) / left
        try:
            with _lock:
                return source(query, time.monotonic() + seconds)
        except SearchError as error:
            # the first says most, but a refusal is what to know
            failure = failure if isinstance(failure, type(error)) else error
    raise failure


def by_jmd(query, deadline):
    """jmd_imagescraper's own `duckduckgo_scrape_urls`, over a session that ends in time and mends the token."""
    from jmd_imagescraper import core

    words = dict(keywords=query.words, max_results=query.number, **query.enums())
    mirror = urlsplit(query.endpoint)
    allowed = [] if query.endpoint == DUCKDUCKGO else [f"{mirror.hostname}:{mirror.port or PORTS[mirror.scheme]}"]
    with Fetcher(allowed, seconds=query.seconds) as fetcher:
        session = _Session(query, fetcher, deadline)
        with _lent(core, "requests", session):
            urls = core.duckduckgo_scrape_urls(**words)
    return [session.link(url, "jmd_imagescraper") for url in urls], session.note


def by_ddgs(query, deadline):
    """ddgs, which asks the same search engine with a real browser's handshake: some that refuse Python let it pass."""
    from ddgs import DDGS
    from ddgs.exceptions import DDGSException
    from ddgs.http_client import HttpClient

    members = {field: member.value for field, member in query.enums().items()}
    filters = dict(size=members["img_size"], color=members["img_color"], layout=members["img_layout"])
    which = "image" if members["img_size"] else "thumbnail"
    links, as_sent, note, status, real = {}, {}, "", 200, HttpClient.request

    def request(client, method, url, *args, **kwargs):
        nonlocal status
        answer = real(client, method, url.replace(DUCKDUCKGO, query.endpoint.rstrip("/"), 1), *args, **kwargs)
        status = answer.status_code  # ddgs calls a refusal "No results found"
        for address in re.findall(r'"https?://[^"]*"', answer.text):
            with suppress(ValueError):
                address = json.loads(address)
                as_sent[unquote(address).replace(" ", "+")] = address  # ddgs decodes addresses, and some then fail
        return answer

    with _lent(HttpClient, "request", request):
        for page in range(1, 100):
            left = deadline - time.monotonic()
            before = len(links)
            try:
                if left <= 0:
                    raise DDGSException("timed out")
                # two requests a page, the token's and the results'
                found = DDGS(timeout=max(0.2, left / 2)).images(
                    query.words, backend="duckduckgo", page=page, max_results=None, type_image=members["img_type"],
                    safesearch="on" if query.safe else "off", license_image=query.licence, **filters,
                )  # fmt: skip
            except DDGSException as error:
                if status != 200 and not links:
                    raise SearchRefused(status) from None
                if "No results" in str(error) and status == 200:
                    break
                if not links:
                    raise SearchError(f"The search engine gave no answer that ddgs understands ({error})") from None
                note = f"the search broke off after {len(links)}"
                break
            for result in found:
                if result.get(which):
                    url = as_sent.get(result[which], result[which])
                    links.setdefault(url, Link(url, "", result.get("title") or "", result.get("url") or "", "ddgs"))
            if len(links) >= query.number or len(links) == before:
                break
    return list(links.values())[: query.number], note


SOURCES = (by_jmd, by_ddgs)


@contextmanager
def _lent(owner, name, ours):
    theirs = getattr(owner, name)
    setattr(owner, name, ours)
    try:
        yield
    finally:
        setattr(owner, name, theirs)


class _Session:
    """What jmd_imagescraper takes for `requests` during one call: one user agent, any quoting of the token, no waiting.

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
            answer = self.fetcher.fetch(url, method, headers, content, seconds=left)
        except FetchError as error:
            raise SearchError(f"The search engine cannot be reached. {str(error).rstrip('.')}") from None
        if answer.status in REFUSALS:
            raise SearchRefused(answer.status, answer.wait)
        if answer.status != 200:
            raise SearchError(f"The search engine is out of order (it answered {answer.status})")
        return answer.body.decode("utf-8", errors="replace")
