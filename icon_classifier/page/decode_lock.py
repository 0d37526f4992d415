"""One image is decoded at a time on a machine, and what it took is given back."""

import ctypes
import sys
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def decode_lock():
    """Wait until no other kernel on this machine is at work, and hold them off meanwhile; give memory back after.

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
    """Give freed memory back to the machine; the allocator of Linux keeps it otherwise. Nothing elsewhere."""
    call_allocator("malloc_trim", 0)


def call_allocator(function, *arguments):
    if sys.platform == "linux":
        try:
            getattr(ctypes.CDLL(None), function)(*arguments)
        except AttributeError:  # a C library other than glibc
            pass
