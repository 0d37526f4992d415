"""A lock so that one image at a time is decoded on a machine."""

import ctypes
import sys
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def decode_lock():
    """Hold the machine-wide lock for decoding; afterwards return freed memory to the system.

    A large photo takes 100 MB while it is decoded: on a small machine only one at a time fits. The lock ends with the
    process, however that ends.
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
    """Return freed memory to the system, which glibc would keep; does nothing elsewhere."""
    call_allocator("malloc_trim", 0)


def call_allocator(function, *arguments):
    if sys.platform == "linux":
        try:
            getattr(ctypes.CDLL(None), function)(*arguments)
        except AttributeError:  # a C library other than glibc
            pass
