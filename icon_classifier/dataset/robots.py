"""Respect hosts and owners: check the status, X-Robots-Tag, Retry-After and the type of a response."""

import time
from email.utils import parsedate_to_datetime

from .links import FetchError

OUR_AGENT = "icon-classifier"
USER_AGENT = f"{OUR_AGENT}/1 (collects images to train a classifier; honours X-Robots-Tag)"
IMAGE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")  # beginnings of media types
FORBIDDING_RULES = {"noai", "noimageai", "noindex", "noimageindex", "none"}  # as in img2dataset; none implies noindex


def check_headers(status, header, robots, kind, types):
    """Raise `FetchError` unless a response is an image that may be used. Its body has not been read yet.

    header: {header in lower case: value}. robots: all values of X-Robots-Tag. kind: the media type.
    types: beginnings of the accepted media types. The error's `wait` is the Retry-After in seconds.
    """
    if status in (429, 503):
        wait = seconds_of(header.get("retry-after", ""))
        when = f", and it asks to wait {wait:.0f} s" if wait else ""
        raise FetchError(f"The server is busy (HTTP status {status}){when}.", status, again=True, wait=wait)
    if status != 200:
        raise FetchError(f"The server responds with HTTP status {status}.", status, again=status >= 500)
    if rule := unwanted(robots):
        raise FetchError(f"The owner does not allow its use (X-Robots-Tag: {rule}).", status)
    if kind and (not kind.startswith(types) or kind == "image/svg+xml"):
        raise FetchError(f"The file is not a photo (its type is {kind}).", status)


def seconds_of(text):
    """Return the value of Retry-After (a number or a date) in seconds, or 0 if it is neither."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def unwanted(values):
    """Return the first rule in the `values` of X-Robots-Tag headers that forbids the use, or "".

    A rule after the name of another crawler ("bot: noai") does not apply.
    """
    for value in values:
        agent = OUR_AGENT
        for part in value.lower().split(","):
            before, colon, after = part.partition(":")
            if colon and before.strip() != "unavailable_after" and not before.strip().startswith("max-"):
                agent = before.strip()  # applies to this rule and those that follow
                part = after
            if part.strip() in FORBIDDING_RULES and agent in (OUR_AGENT, "*"):
                return part.strip()
    return ""
