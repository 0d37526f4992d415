"""Upper floor: the warm process as the server sees it, and the kernels that are forked from it."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from jupyter_client.provisioning import LocalProvisioner

from .fork_server import ALONE

START = 120  # seconds that importing and reading the classifier may take; fastai takes about ten
FORK = 10  # seconds that a fork may take; it takes milliseconds


class Unforkable(RuntimeError):
    """Kernels cannot be forked; the message says why."""


class ForkServer:
    """The warm process, seen from the server.

    exports: the paths of the exports that it reads before it is ready.
    report: what it said when it was ready, see `fork_server.warm_up`.
    """

    def __init__(self, exports):
        self.report, self._ready, self._lock = None, False, threading.Lock()
        if not (hasattr(os, "pidfd_open") and hasattr(os, "fork")):
            raise Unforkable(f"this system ({sys.platform}) has no pidfds")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "icon_classifier.server.fork_server", str(theirs.fileno()), *exports],
                env={**os.environ, **ALONE, "PYTHONPATH": os.pathsep.join(path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def wait(self):
        """Block until it is ready; raises `Unforkable`."""
        with self._lock:
            if not self._ready:
                self.report = json.loads(self._receive(START)[0])
                self._ready = True
        if "failed" in self.report:
            raise Unforkable(self.report["failed"])

    def fork(self, **request):
        """Block until there is a kernel; returns its (pid, pidfd). `request`: `fork_server.become_kernel`'s arguments.

        They go in a file, for a message may not be as long as what a visitor can write into an address.
        Raises `Unforkable`, and OSError where the system has no process more to give.
        """
        self.wait()
        with self._lock, open(os.memfd_create("request"), "w+b", buffering=0) as file:
            file.write(json.dumps(request).encode())
            try:
                socket.send_fds(self._channel, [b"fork"], [file.fileno()])
            except OSError as error:
                raise Unforkable(f"the warm process is gone ({error})") from error
            answer, pidfds = self._receive(FORK)
        if not pidfds:
            raise OSError(answer.decode())
        return json.loads(answer), pidfds[0]

    def _receive(self, seconds):
        self._channel.settimeout(seconds)
        try:
            answer, pidfds, _, _ = socket.recv_fds(self._channel, 1 << 20, 1)
        except OSError as error:
            raise Unforkable(f"the warm process does not answer ({error})") from error
        if not answer:
            raise Unforkable("the warm process is gone")
        return answer, pidfds

    def close(self):
        """End the process and every kernel that it forked."""
        self._channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ForkedProcess:
    """A kernel that is the warm process's child, not ours; with the part of `subprocess.Popen` that provisioners use.

    A pidfd stays bound to its process: a signal cannot reach another one that was given the same number later.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid, pidfd):
        self.pid, self._pidfd, self.returncode = pid, pidfd, None

    def poll(self):
        if self.returncode is None:
            watch = select.poll()
            watch.register(self._pidfd, select.POLLIN)
            if watch.poll(0):
                os.close(self._pidfd)
                self.returncode = 0  # only its parent is told the real one
        return self.returncode

    def wait(self):
        while self.poll() is None:
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:  # it has ended since
                pass

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class ForkProvisioner(LocalProvisioner):
    """Starts a kernel by a fork of the warm process; where that fails, as a process of its own."""

    async def launch_kernel(self, cmd, **kwargs):
        kernels = self.parent.parent
        forked = await kernels.fork(cmd, kwargs.get("env") or dict(os.environ), kwargs.get("cwd") or os.getcwd())
        if forked is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = ForkedProcess(*forked)
        self.pid, self.cwd = self.process.pid, kwargs.get("cwd")
        return self.connection_info


def exports_of(notebooks):
    """The paths of the exports that page notebooks name in `IconPage("...")`, as seen from each notebook's folder."""
    found = []
    for notebook in notebooks:
        try:
            cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError, TypeError):  # the visitor will be told
            continue
        code = "\n".join("".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code")
        for path in re.findall(r"""IconPage\(\s*["']([^"']+)["']""", code):
            found.append(str(Path(notebook).absolute().parent / path))
    return list(dict.fromkeys(found))


def arguments_of(cmd):
    """What a kernelspec's command says after `python -m ipykernel_launcher`; None for other commands and Pythons."""
    folder = os.path.realpath(os.path.dirname(cmd[0])) if cmd else None
    if folder != os.path.realpath(os.path.dirname(sys.executable)) or "ipykernel_launcher" not in cmd:
        return None
    return cmd[cmd.index("ipykernel_launcher") + 1 :]
