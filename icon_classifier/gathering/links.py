"""What every source gives: links, each on its way to become one photograph, and the errors on that way."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """One address and what is known about it; `read` returns the bytes where the picture is at hand already."""

    url: str
    name: str = ""  # the label, where the source knows it
    title: str = ""
    page: str = ""
    source: str = ""
    read: Callable[[], bytes] | None = None


class SourceError(Exception):
    """A source cannot be used; the message is a sentence that says what to do."""


class FetchError(Exception):
    """Nothing usable came from this address; the message is a sentence.

    `status`: the HTTP status, where there was one. `again`: another time it may work. `wait`: in how many seconds,
    where the host said so.
    """

    def __init__(self, message, status="", again=False, wait=None):
        super().__init__(message)
        self.status, self.again, self.wait = status, again, wait
