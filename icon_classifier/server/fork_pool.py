"""Start the fork server (fork_server.py), request kernels from it, and restart it if it dies."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ..errors import IconClassifierError
from .fork_server import SINGLE_THREADED

START_TIMEOUT = 120  # seconds to import modules and load the classifier; fastai takes about ten
FORK_TIMEOUT = 10  # seconds; a fork takes milliseconds
MAX_RESPONSE_BYTES = 1 << 20


class ForkError(IconClassifierError, RuntimeError):
    """Kernels cannot be forked. The message says why."""


class ForkServerClient:
    """A fork server and the socket to it. The methods block.

    exports: the paths of the exports that the fork server loads before it is ready.
    report: what `fork_server.load_shared` returned, once the fork server is ready.
    """

    def __init__(self, exports):
        self.report = None
        self._ready = False
        self._lock = threading.Lock()
        if not (hasattr(os, "pidfd_open") and hasattr(os, "fork")):
            raise ForkError(f"this system ({sys.platform}) has no pidfds")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "icon_classifier.server.fork_server", str(theirs.fileno()), *exports],
                env={**os.environ, **SINGLE_THREADED, "PYTHONPATH": os.pathsep.join(path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def wait(self):
        """Wait until the fork server is ready. Raises `ForkError`."""
        with self._lock:
            if not self._ready:
                self.report = json.loads(self._receive(START_TIMEOUT)[0])
                self._ready = True
        if "failed" in self.report:
            raise ForkError(self.report["failed"])

    def fork(self, **request):
        """Fork a kernel and return its (pid, pidfd).

        request: the arguments of `fork_server.become_kernel`. They are sent in a file, because a visitor's URL can be
        longer than a message of the socket.
        Raises `ForkError`, and OSError if the system cannot start another process.
        """
        self.wait()
        with self._lock, open(os.memfd_create("request"), "w+b", buffering=0) as file:
            file.write(json.dumps(request).encode())
            try:
                socket.send_fds(self._channel, [b"fork"], [file.fileno()])
            except OSError as error:
                raise ForkError(f"the fork server has died ({error})") from error
            response, pidfds = self._receive(FORK_TIMEOUT)
        if not pidfds:
            raise OSError(response.decode())
        return json.loads(response), pidfds[0]

    def _receive(self, timeout):
        self._channel.settimeout(timeout)
        try:
            response, pidfds, _, _ = socket.recv_fds(self._channel, MAX_RESPONSE_BYTES, 1)
        except OSError as error:
            raise ForkError(f"the fork server does not respond ({error})") from error
        if not response:
            raise ForkError("the fork server has died")
        return response, pidfds

    def close(self):
        """End the fork server and every kernel that it forked."""
        self._channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ForkPool:
    """Forks kernels for a server that runs asyncio. If this is impossible, it logs each reason once.

    notebooks: the paths of the page notebooks, whose exports the fork server loads.
    """

    def __init__(self, notebooks, log):
        self._notebooks = notebooks
        self._log = log
        self._server = None
        self._reported = None  # the fork server whose problems have been logged
        self._reasons = set()  # the reasons for not forking that have been logged
        self._executor = ThreadPoolExecutor(1)  # one request to the fork server at a time
        self._start()

    @property
    def forks(self):
        """Whether kernels are forked."""
        return self._server is not None

    @property
    def process(self):
        """The fork server's process."""
        return self._server.process

    async def report(self):
        """Wait until the fork server is ready; return its report, or None if kernels are not forked."""
        while server := self._server:
            try:
                await self._run(server.wait)
            except ForkError as error:
                self._give_up(error)
                if server is self._server:  # a concurrent call may have replaced it
                    self.close()
            else:
                self._log_problems(server)
                if server is self._server:
                    return server.report
        return None

    async def fork(self, args, env, cwd):
        """Fork a kernel; return its (pid, pidfd), or None if kernels cannot be forked.

        args, env, cwd: as for `fork_server.become_kernel`. Raises OSError if the system cannot start another process.
        """
        for _ in range(2):
            if not await self.report():
                return None
            server = self._server
            try:
                return await self._run(partial(server.fork, args=args, env=env, cwd=str(cwd)))
            except ForkError as error:
                self._log.warning("The fork server is restarted: %s.", error)
                if server is self._server:
                    self.close()
                    self._start()
        return None

    def close(self):
        """End the fork server and every kernel that it forked."""
        server, self._server = self._server, None
        if server:
            server.close()

    def _start(self):
        try:
            self._server = ForkServerClient(exports_of(self._notebooks))
        except (ForkError, OSError) as error:
            self._give_up(error)

    def _run(self, function):
        return asyncio.get_running_loop().run_in_executor(self._executor, function)

    def _log_problems(self, server):
        if server is not self._reported:
            self._reported = server
            for problem in server.report["problems"]:
                self._log.warning("The fork server could not load an export: %s", problem)

    def _give_up(self, reason):
        if str(reason) not in self._reasons:
            self._reasons.add(str(reason))
            self._log.warning("Kernels are not forked, so they start more slowly and need more memory: %s.", reason)


def exports_of(notebooks):
    """Return the paths of the exports that notebooks pass to `IconPage("...")`, relative to each notebook's folder."""
    found = []
    for notebook in notebooks:
        try:
            cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError, TypeError):  # the page shows the error to its visitors
            continue
        code = "\n".join("".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code")
        for path in re.findall(r"""IconPage\(\s*["']([^"']+)["']""", code):
            found.append(str(Path(notebook).absolute().parent / path))
    return list(dict.fromkeys(found))
