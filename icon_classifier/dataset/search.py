"""Search for images with two backends, tried in order, within a time limit."""

import threading
import time

from .query import SearchError
from .search_ddgs import by_ddgs
from .search_jmd import by_jmd

SOURCES = (by_jmd, by_ddgs)
_lock = threading.Lock()  # both replace an attribute of their library, so one search runs at a time


def search(query, sources=None):
    """Return (links, note) for a `Query` from the first of `sources` that works; the links may be empty.

    A source is a function that takes the query and a deadline (of time.monotonic), and returns the same. `note` says
    what went wrong, or is "". Raises `SearchRefused` if the search engine refuses this computer's address, or
    `SearchError`, within `query.seconds`.
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
            if not isinstance(failure, type(error)):  # report the first error, unless a later one is a refusal
                failure = error
    raise failure
