"""Define search queries and the errors of a search."""

from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from .links import SourceError

DUCKDUCKGO = "https://duckduckgo.com"
OTHER_SOURCES = (
    "these sources need no search engine: gather_from() takes a folder with one folder per label, a zip of such "
    "folders, or a CSV of addresses"
)


class SearchError(SourceError):
    """The search failed. The message says why, and lists the sources that need no search engine."""

    def __init__(self, what, other_sources=True):
        super().__init__(f"{what}; {OTHER_SOURCES}." if other_sources else what)
        self.what = what


class SearchRefused(SearchError):
    """The search engine refuses this computer's address."""

    def __init__(self, status, wait=0):
        how_long = f"It asks to wait {wait:.0f} s" if wait else "This usually lasts some minutes to some hours"
        super().__init__(f"The search engine refuses this computer's address (HTTP status {status}). {how_long}")


@dataclass
class Query:
    """A search query.

    words: the search words.
    number: the number of links to find.
    size, type, layout, color: filters; members of jmd_imagescraper's enums, or their names.
    licence: "", "Public", "Share", "ShareCommercially", "Modify" or "ModifyCommercially".
    safe: whether safe search is on.
    endpoint: the address to use instead of https://duckduckgo.com.
    seconds: the time limit of the whole search.
    """

    words: str
    number: int = 150
    size: str = "Cached"  # thumbnails of the search engine: small, and from one reliable host
    type: str = "Photo"
    layout: str = "Square"
    color: str = "All"
    licence: str = ""
    safe: bool = True
    endpoint: str = DUCKDUCKGO
    seconds: float = 10

    def __str__(self):
        """Return the words and the filters that differ from the defaults, as the manifest records them."""
        filters = [f"{field} {_name(getattr(self, field))}" for field in ("size", "type", "layout", "color", "licence")
                   if _name(getattr(self, field)) != getattr(Query, field)]  # fmt: skip
        filters += [] if self.safe else ["unsafe"]
        return f"{self.words} ({', '.join(filters)})" if filters else self.words

    def enums(self):
        """Return the four filters as members of jmd_imagescraper's enums. Raises `SearchError` for an unknown name."""
        from jmd_imagescraper.core import ImgColor, ImgLayout, ImgSize, ImgType

        members = {}
        for field, kind in (("size", ImgSize), ("type", ImgType), ("layout", ImgLayout), ("color", ImgColor)):
            name = _name(getattr(self, field))
            if name not in kind.__members__:
                value = getattr(self, field)
                names = ", ".join(kind.__members__)
                raise SearchError(f"{field} should be one of {names}, not {value!r}.", other_sources=False)
            members[f"img_{field}"] = kind[name]
        return members


def _name(value):
    """Return the name of an enum member, or `value` with a capital, as these names are written."""
    name = value.name if isinstance(value, Enum) else str(value or "")
    return name[:1].upper() + name[1:]


@contextmanager
def replaced(owner, name, value):
    """Replace an attribute of a library by `value` within a `with` block. Only one search at a time may do so."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
