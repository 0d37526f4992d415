"""The fork server: a process that has loaded what a kernel needs, and forks one kernel per visitor."""

# A fork takes milliseconds and shares the memory of the imported modules and the classifier. Objects that cannot be
# copied by a fork are created in the child: threads, zmq's context, an event loop, IPython's shell. `fork_pool.py`
# starts this process and sends it one message per kernel over a socket.

import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
ARROW = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # fastai imports pyarrow with its jemalloc
SINGLE_THREADED = {"ORT_DISABLE_TELEMETRY": "1", **ONE_THREAD, **ARROW}  # telemetry would start a thread too

# The modules that IPKernelApp and its shell import when they start, and those of the page's widgets.
KERNEL_MODULES = """
anywidget ipywidgets
ipykernel.ipkernel ipykernel.kernelapp ipykernel.debugger IPython.core.completer IPython.core.completerlib
IPython.core.debugger IPython.core.logger IPython.core.oinspect IPython.core.profileapp IPython.extensions.storemagic
faulthandler importlib.readers matplotlib_inline.backend_inline pdb psutil tornado.gen tornado.locks
tornado.platform.asyncio tornado.queues""".split()


def main(channel, exports):
    """Load the exports at the paths `exports`, report over the socket `channel`, and fork kernels until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the web server handles Ctrl-C
    try:
        report = load_shared(exports)
    except BaseException as error:
        with suppress(ConnectionError):
            channel.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    with suppress(ConnectionError):  # the web server has ended
        channel.send(json.dumps(report).encode())
        serve(channel)


def load_shared(exports):
    """Load what the kernels share, and return the report for the web server. Raises RuntimeError if forking is unsafe.

    The report is a dict: `problems`, a sentence per export that could not be loaded; `heavy`, whether PyTorch is
    loaded; and `memory`, the bytes that this process uses. They are measured before the first fork, because memory that
    is shared with kernels would count less.
    """
    sys.modules["debugpy"] = None  # prevents its import: visitors need no debugger, and it takes 10 MB per kernel
    for name in KERNEL_MODULES:
        try:
            importlib.import_module(name)
        except ImportError:  # another version may not have the module; each kernel imports what it needs
            pass

    from ..model.classifier import ExportError
    from ..page import preload
    from ..page.decode_lock import trim_memory
    from . import capacity

    problems = []
    for path in exports:
        try:
            preload.preload(path)
        except ExportError as error:  # the page shows the same message to its visitors
            problems.append(str(error))
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise RuntimeError(f"{threads} threads are running after the imports, and a fork copies only one of them")
    gc.collect()
    trim_memory()
    gc.freeze()  # otherwise a garbage collection in a child would write to, and thus copy, every page of memory
    return {"problems": problems, "heavy": "torch" in sys.modules, "memory": capacity.memory_used([os.getpid()])}


def serve(channel):
    """Respond to each request for a kernel with its pid and its pidfd; when the socket closes, end all kernels.

    Then raises ConnectionError if the other side left a message unread.
    """
    kernels = {}  # {pidfd: pid}; a pidfd is readable once its kernel has ended
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    try:
        while True:
            for ready, _ in poller.poll():
                if ready in kernels:
                    poller.unregister(ready)
                    os.waitpid(kernels.pop(ready), 0)
                    os.close(ready)
                elif files := socket.recv_fds(channel, 16, 1)[1]:
                    fork(channel, files[0], kernels, poller)
                else:
                    return
    finally:
        for pidfd in kernels:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def fork(channel, request, kernels, poller):
    """Fork a kernel for the open file `request`, respond over `channel`, and add it to `kernels` and `poller`."""
    with open(request, "rb") as file:
        file.seek(0)
        request = json.load(file)
    try:
        pid = os.fork()
    except OSError as error:  # the system allows no further process
        channel.send(str(error).encode())
        return
    if pid == 0:
        channel.close()
        for pidfd in kernels:
            os.close(pidfd)
        become_kernel(**request)
    pidfd = os.pidfd_open(pid)
    kernels[pidfd] = pid
    poller.register(pidfd, select.POLLIN)
    socket.send_fds(channel, [json.dumps(pid).encode()], [pidfd])


def become_kernel(args, env, cwd):
    """Become the kernel that `python -m ipykernel_launcher *args` would be; does not return."""
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(env | SINGLE_THREADED)
        os.chdir(cwd)
        with suppress(OSError):  # if memory runs out, the system kills a kernel and not the server
            Path("/proc/self/oom_score_adj").write_text("500")
        logging.basicConfig(stream=sys.__stderr__, level=logging.WARNING)  # to the server's log, not to the page

        import ipywidgets
        from ipykernel.kernelapp import IPKernelApp

        app = IPKernelApp.instance()
        app.parent_handle = os.getppid()  # its default was read from the environment when the class was created
        app.capture_fd_output = False
        app.initialize([*args, "--HistoryManager.enabled=False"])
        ipywidgets.register_comm_target(app.kernel)  # its import does so only if a kernel exists already
        app.start()
    except BaseException:
        logging.exception("a kernel could not run")
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
