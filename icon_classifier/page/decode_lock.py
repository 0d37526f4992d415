"""Limit a machine to decoding one image at a time."""

import ctypes
import sys
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def decode_lock():
    """Hold the machine-wide lock for decoding, then return freed memory to the system.

    Decoding a large photo takes 100 MB, so a small machine has memory for one at a time. The system releases the lock
    when the process ends.
    """
    if fcntl is None:
        yield
        return
    with open(__file__, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            trim_memory()


def trim_memory():
    """Return freed memory to the system, because glibc would keep it; do nothing on other C libraries."""
    call_allocator("malloc_trim", 0)


def call_allocator(function, *arguments):
    """Call a `function` of glibc's allocator by its name; do nothing on other C libraries."""
    if sys.platform == "linux":
        try:
            getattr(ctypes.CDLL(None), function)(*arguments)
        except AttributeError:  # another C library than glibc
            pass
