"""Write files atomically."""

import os

PARTIAL = ".part"  # the ending of files that are not complete yet


def write_atomic(path, data):
    """Write `data` (bytes) to `path` in one step: readers see the old file or the new one, never a part of it."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
