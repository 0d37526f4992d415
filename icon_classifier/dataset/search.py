"""Search for images: a query becomes links. Two backends, tried in order; each ends in time."""

import threading
import time

from .query import SearchError
from .search_ddgs import by_ddgs
from .search_jmd import by_jmd

SOURCES = (by_jmd, by_ddgs)
_lock = threading.Lock()  # both replace an attribute of their library, so one search runs at a time


def search(query, sources=None):
    """Return (links, note): what the first source of `sources` that works finds for a `Query`, [] where nothing is.

    A source is a function: it takes the query and a deadline (of time.monotonic), and returns the same or raises.
    `note` says in words what was not as it should be. Raises `SearchRefused` where the search engine refuses this
    address, or `SearchError`, within `query.seconds`.
    """
    began = time.monotonic()
    failure = None
    sources = sources or SOURCES
    for left, source in zip(range(len(sources), 0, -1), sources, strict=True):
        seconds = (query.seconds - (time.monotonic() - began)) / left
        try:
            with _lock:
                return source(query, time.monotonic() + seconds)
        except SearchError as error:
            if not isinstance(failure, type(error)):  # the first error says most, but a refusal matters more
                failure = error
    raise failure
