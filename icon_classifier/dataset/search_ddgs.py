"""Search with ddgs, which imitates the TLS handshake of a browser."""

import json
import re
import time
from contextlib import contextmanager, suppress
from urllib.parse import unquote

from .links import Link
from .query import DUCKDUCKGO, SearchError, SearchRefused, replaced

MAX_PAGES = 100


def by_ddgs(query, deadline):
    """Search with ddgs, whose requests the search engine accepts more often than those of Python's own TLS.

    See `search.search`.
    """
    from ddgs.exceptions import DDGSException

    links = {}
    note = ""
    image_key = "image" if query.enums()["img_size"].value else "thumbnail"
    with _recorded(query.endpoint) as record:
        for page in range(1, MAX_PAGES):
            before = len(links)
            try:
                found = _results(query, page, deadline)
            except DDGSException as error:
                if "No results" in str(error) and record.status == 200:
                    break
                if not links:
                    raise _search_error(error, record.status) from None
                note = f"the search was interrupted after {len(links)} links"
                break
            for result in found:
                if address := result.get(image_key):
                    url = record.as_sent.get(address, address)
                    links.setdefault(url, Link(url, "", result.get("title") or "", result.get("url") or "", "ddgs"))
            if len(links) >= query.number or len(links) == before:
                break
    return list(links.values())[: query.number], note


class _Record:
    """The last HTTP status, and {address as ddgs returns it: address as the search engine sent it}."""

    def __init__(self):
        self.status = 200
        self.as_sent = {}


@contextmanager
def _recorded(endpoint):
    """Send the requests of ddgs to `endpoint` and yield a `_Record` of the responses.

    ddgs hides the HTTP status and decodes the addresses.
    """
    from ddgs.http_client import HttpClient

    record = _Record()
    original = HttpClient.request

    def request(client, method, url, *args, **kwargs):
        response = original(client, method, url.replace(DUCKDUCKGO, endpoint.rstrip("/"), 1), *args, **kwargs)
        record.status = response.status_code  # ddgs reports a refusal as "No results found"
        for quoted in re.findall(r'"https?://[^"]*"', response.text):
            with suppress(ValueError):
                address = json.loads(quoted)
                record.as_sent[unquote(address).replace(" ", "+")] = (
                    address  # some hosts do not accept the decoded form
                )
        return response

    with replaced(HttpClient, "request", request):
        yield record


def _results(query, page, deadline):
    """Return one page of results from ddgs."""
    from ddgs import DDGS
    from ddgs.exceptions import DDGSException

    left = deadline - time.monotonic()
    if left <= 0:
        raise DDGSException("timed out")
    filters = {field.removeprefix("img_"): member.value for field, member in query.enums().items()}
    filters["type_image"] = filters.pop("type")
    return DDGS(timeout=max(0.2, left / 2)).images(  # two requests per page, for the token and for the results
        query.words, backend="duckduckgo", page=page, max_results=None, license_image=query.licence,
        safesearch="on" if query.safe else "off", **filters,
    )  # fmt: skip


def _search_error(error, status):
    if status != 200:
        return SearchRefused(status)
    return SearchError(f"ddgs cannot read the response of the search engine ({error})")
