"""Links, which every source gives; each becomes one photo or an error."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import IconClassifierError

URL = ("url", "image_url", "image", "link", "address", "src")  # what the columns of a list may be called
LABEL = ("label", "name", "class", "category")
MAX_FILE_BYTES = 100_000_000  # bytes; a file in a zip may unpack to any size


@dataclass(frozen=True)
class Link:
    """One address and what is known about it; `read` returns the bytes where the picture is at hand already."""

    url: str
    label: str = ""  # the label, where the source knows it
    title: str = ""
    page: str = ""
    source: str = ""
    read: Callable[[], bytes] | None = None
    split: str = ""  # "train" or "valid", where the source has decided that
    size: int | None = None  # bytes, of a picture at hand
    changed: float = 0.0  # when the file was last written, in seconds since 1970, where that is known


class SourceError(IconClassifierError):
    """A source cannot be used; the message is a sentence that says what to do."""


class FetchError(Exception):
    """Nothing usable came from this address; the message is a sentence.

    `status`: the HTTP status, where there was one. `again`: another time it may work. `wait`: in how many seconds,
    where the host said so.
    """

    def __init__(self, message, status="", again=False, wait=None):
        super().__init__(message)
        self.status, self.again, self.wait = status, again, wait


def read_file(file):
    """The bytes of a file (a path); raises `SourceError` for one that is too large."""
    if file.stat().st_size > MAX_FILE_BYTES:
        raise SourceError(f"It is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
    return file.read_bytes()
