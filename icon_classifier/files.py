"""Write files atomically."""

import os
from contextlib import contextmanager

PARTIAL = ".part"  # the ending of files that are not complete yet


@contextmanager
def replacing(path):
    """Yield a path to write to; its file replaces `path` in one step when the body ends without an exception.

    Readers see the old file or the new one, never a part of it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path, data):
    """Write `data` (bytes) to `path` in one step; see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)
