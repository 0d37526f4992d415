"""Compute how many kernels fit into memory and into the limit of open files."""

from contextlib import suppress
from pathlib import Path

from ..page.decode_lock import call_allocator

try:
    import resource
except ImportError:  # Windows
    resource = None

MB = 1 << 20
# The maximum memory of a kernel in MB, (forked, not forked), by the library that runs the model; see `make bench`.
KERNEL_MEMORY = {"onnxruntime": (32, 200), "fastai": (96, 450)}
SERVER_MEMORY = 100  # MB
DECODE_MEMORY = 100  # MB for the one image that is being decoded (see `page.decode_lock`)
FILES_PER_KERNEL = 20  # open files in the server
SERVER_FILES = 100
MAX_SOCKETS = 65535  # ZeroMQ's maximum; its default suffices for two hundred visitors
MAX_QUEUED_MESSAGES = 4  # per ZeroMQ socket; ZeroMQ allows a thousand, of any size
MAX_PENDING_BYTES = 32 * MB  # per page: messages that are being sent, or kept while it is disconnected


def memory_limit(root="/"):
    """Return the bytes of memory that this process and its children may use together.

    This is the memory of the machine, or the limit of a container's control group (cgroup, version 1 or 2).
    root: the folder that contains /proc and /sys.
    """
    root = Path(root)
    found = [int(line.split()[1]) << 10 for line in _lines(root / "proc/meminfo") if line.startswith("MemTotal:")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container often sees its own group at the top of the mount. The limits of all parent groups apply as well.
        here = Path(path.lstrip("/"))
        for group in (here, *here.parents):
            found += [int(value) for value in _lines(mount / group / name) if value.isdigit()]
    if not found:  # not Linux
        import psutil

        found = [psutil.virtual_memory().total]
    return min(found)


def memory_used(pids):
    """Return the bytes of memory that the processes `pids` use, with shared pages counted once (PSS)."""
    total = 0
    for pid in pids:
        total += sum(int(line.split()[1]) << 10 for line in _lines(f"/proc/{pid}/smaps_rollup") if line[:4] == "Pss:")
    return total


def raise_file_limit():
    """Raise this process's limit of open files as far as possible, at most to `MAX_SOCKETS`; return the limit."""
    if resource is None:
        return MAX_SOCKETS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_SOCKETS if most == resource.RLIM_INFINITY else min(most, MAX_SOCKETS)
    with suppress(OSError, ValueError):  # macOS allows less than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def max_kernels(report, available=None):
    """Return the number of kernels that memory and open files allow; at least 1.

    report: what `fork_server.load_shared` returned, or None if kernels are not forked.
    available: bytes of memory; None for `memory_limit()`.
    """
    forked, plain = KERNEL_MEMORY["fastai" if report and report["heavy"] else "onnxruntime"]
    used = SERVER_MEMORY + DECODE_MEMORY + (report["memory"] // MB if report else 0)
    by_memory = ((available or memory_limit()) // MB - used) // (forked if report else plain)
    by_files = (raise_file_limit() - SERVER_FILES) // FILES_PER_KERNEL
    return max(1, min(by_memory, by_files))


def _lines(path):
    try:
        return Path(path).read_text().splitlines()
    except (OSError, ValueError):
        return []


def return_freed_memory():
    """Let glibc's allocator return memory to the system when it is freed, as far as it can be told to.

    An arena per thread keeps the memory that the thread once needed. glibc also raises M_MMAP_THRESHOLD dynamically, up
    to 32 MB, which fragments the heap. See mallopt(3).
    """
    call_allocator("mallopt", -8, 1)  # M_ARENA_MAX
    call_allocator("mallopt", -3, MB)  # M_MMAP_THRESHOLD
