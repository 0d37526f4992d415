"""Upper floor: memory and open files, which are what many visitors have to share."""

from contextlib import suppress
from pathlib import Path

from ..page.decode_lock import call_allocator

try:
    import resource
except ImportError:  # Windows
    resource = None

MB = 1 << 20
# What a visitor takes at most, in MB: (forked, plain), by what runs the model. `make bench` prints what they do take.
VISITOR = {"onnxruntime": (32, 200), "fastai": (96, 450)}
SERVER = 100  # MB for the server itself
FILES = 20  # open files that a visitor takes in the server, and 100 for the server itself
SOCKETS = 65535  # of ZeroMQ: what it can count to, where its default would do for two hundred visitors
WAITING = 32 * MB  # for a page: what is on its way there, or kept while it is away
WORK = 100  # MB for the one picture that is being decoded (see `page.decode_lock`)


def limit(root="/"):
    """The bytes of memory that this process and its children may use together.

    The machine's, or less where a container's control group (cgroup, version 1 or 2) says so. `root` is where /proc
    and /sys are.
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
        # A container often sees its own group at the mount's top, whatever the path says; and every group above counts.
        here = Path(path.lstrip("/"))
        for group in (here, *here.parents):
            found += [int(value) for value in _lines(mount / group / name) if value.isdigit()]
    if not found:  # no Linux
        import psutil

        found = [psutil.virtual_memory().total]
    return min(found)


def used(pids):
    """The bytes of memory that the processes `pids` use, pages that they share counted once among them (PSS)."""
    total = 0
    for pid in pids:
        total += sum(int(line.split()[1]) << 10 for line in _lines(f"/proc/{pid}/smaps_rollup") if line[:4] == "Pss:")
    return total


def open_files():
    """Let this process open as many files as the system allows it; returns how many, at most `SOCKETS`."""
    if resource is None:
        return SOCKETS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS if most == resource.RLIM_INFINITY else min(most, SOCKETS)
    with suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def places(warm, available=None):
    """How many visitors memory and open files allow.

    warm: what `fork_server.warm_up` returned, or None where kernels are plain.
    available: bytes of memory, where it is not about this machine (see `limit`).
    """
    each = VISITOR["fastai" if warm and warm["heavy"] else "onnxruntime"][warm is None]
    base = SERVER + WORK + (warm["memory"] // MB if warm else 0)
    return max(1, min(((available or limit()) // MB - base) // each, (open_files() - 100) // FILES))


def _lines(path):
    try:
        return Path(path).read_text().splitlines()
    except (OSError, ValueError):
        return []


def share():
    """Let all threads take memory from the same place: each of their own would keep what it once needed."""
    call_allocator("mallopt", -8, 1)  # M_ARENA_MAX
