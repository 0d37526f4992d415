"""Define links: every source yields them, and each becomes a photo or an error."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import IconClassifierError

URL = ("url", "image_url", "image", "link", "address", "src")  # accepted titles of a list's columns
LABEL = ("label", "name", "class", "category")
MAX_FILE_BYTES = 100_000_000  # a file in a zip can decompress to any size


@dataclass(frozen=True)
class Link:
    """The address of an image, with what its source says about it."""

    url: str
    label: str = ""  # if the source has labels
    title: str = ""
    page: str = ""
    source: str = ""
    read: Callable[[], bytes] | None = None  # returns the bytes of a local image; None if it has to be fetched
    split: str = ""  # "train" or "valid", if the source has splits
    size: int | None = None  # bytes, of a local image
    changed: float = 0.0  # the modification time of a local file in seconds since 1970, or 0 if unknown


class SourceError(IconClassifierError):
    """A source cannot be used. The message says why and what to do."""


class FetchError(IconClassifierError):
    """An address could not be fetched. The message says why.

    status: the HTTP status, or "" if there was no response.
    again: whether it may work later.
    wait: the seconds of Retry-After if the host is busy, else None.
    """

    def __init__(self, message, status="", again=False, wait=None):
        super().__init__(message)
        self.status = status
        self.again = again
        self.wait = wait


def read_file(file):
    """Return the bytes of a file (a path). Raises `SourceError` if it is too large."""
    if file.stat().st_size > MAX_FILE_BYTES:
        raise SourceError(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
    return file.read_bytes()
