"""What to search for, and the errors of a search."""

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
    """The search gave nothing that can be used; the message says why, and names the sources that need no search."""

    def __init__(self, what, other_sources=True):
        super().__init__(f"{what}; {OTHER_SOURCES}." if other_sources else what)
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
                raise SearchError(
                    f"{field} is one of {', '.join(kind.__members__)}, not {value!r}.", other_sources=False
                )
            members[f"img_{field}"] = kind[name]
        return members


def _name(value):
    """The name of an enum's member, or `value` with a capital as those names have it."""
    name = value.name if isinstance(value, Enum) else str(value or "")
    return name[:1].upper() + name[1:]


@contextmanager
def replaced(owner, name, value):
    """Set an attribute of a library to `value` for the length of a `with`; one search at a time does so."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
