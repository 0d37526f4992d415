"""Respect hosts and owners: X-Robots-Tag, Retry-After, and the types that an image may come as."""

import time
from email.utils import parsedate_to_datetime

from .links import FetchError

OUR_AGENT = "icon-classifier"
USER_AGENT = f"{OUR_AGENT}/1 (gathers pictures to learn to tell them apart; honours X-Robots-Tag)"
IMAGE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")  # the types that a picture may come as
FORBIDDING_RULES = {
    "noai",
    "noimageai",
    "noindex",
    "noimageindex",
    "none",
}  # as img2dataset has them, and none = noindex


def check_headers(status, header, robots, kind, types):
    """Raise `FetchError` unless an answer is a picture that we may take; its body has not been read yet.

    `header`: {name in lower case: value}; `robots`: all values of X-Robots-Tag; `kind`: its type; `types`: beginnings
    of the types that will do. A `wait` in the error is what Retry-After asks for, in seconds.
    """
    if status in (429, 503):
        wait = seconds_of(header.get("retry-after", ""))
        when = f" and asks for {wait:.0f} s of rest" if wait else ""
        raise FetchError(f"The server is busy: it answers {status}{when}.", status, again=True, wait=wait)
    if status != 200:
        raise FetchError(f"The server answers {status}.", status, again=status >= 500)
    if rule := unwanted(robots):
        raise FetchError(f"Its owner does not want it used (X-Robots-Tag: {rule}).", status)
    if kind and (not kind.startswith(types) or kind == "image/svg+xml"):
        raise FetchError(f"It is no photograph: its type is {kind}.", status)


def seconds_of(text):
    """Retry-After, a number or a date, as seconds; 0 where it says nothing."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def unwanted(values):
    """The first rule in X-Robots-Tag headers (their `values`) that keeps us off, or ""; "bot: noai" is for that bot."""
    for value in values:
        agent = OUR_AGENT
        for part in value.lower().split(","):
            before, colon, after = part.partition(":")
            if colon and before.strip() != "unavailable_after" and not before.strip().startswith("max-"):
                agent, part = before.strip(), after  # for this and what follows
            if part.strip() in FORBIDDING_RULES and agent in (OUR_AGENT, "*"):
                return part.strip()
    return ""
