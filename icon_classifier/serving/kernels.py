"""Upper floor: visitors' kernels, forked from one warm process; no more than memory allows; none left behind."""

# `voila.json` names `VisitorKernelManager` as the class that manages Voila's kernels. It starts `forkserver.py` with
# the server. Where forking is impossible a visitor gets a plain kernel, a process of its own, and the log says why
# once.

import asyncio
import gc
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
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from jupyter_client.provisioning import LocalProvisioner
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from tornado.web import HTTPError
from traitlets import Integer, default

from . import memory
from .forkserver import ALONE

START = 120  # seconds that importing and reading the classifier may take; fastai takes about ten
FORK = 10  # seconds that a fork may take; it takes milliseconds
# What a visitor takes at most, in MB: (forked, plain), by what runs the model. `make bench` prints what they do take.
VISITOR = {"onnxruntime": (32, 200), "fastai": (96, 450)}
SERVER = 100  # MB for the server itself
WORK = 100  # MB for the one picture that is being decoded (see `memory.turn`)


class Unforkable(RuntimeError):
    """Kernels cannot be forked; the message says why."""


class ForkServer:
    """The warm process, seen from the server.

    exports: the paths of the exports that it reads before it is ready.
    report: what it said when it was ready: a dict with the key `heavy` (whether PyTorch is in it).
    """

    def __init__(self, exports):
        self.report, self._ready, self._lock = None, False, threading.Lock()
        if not (hasattr(os, "pidfd_open") and hasattr(os, "fork")):
            raise Unforkable(f"this system ({sys.platform}) has no pidfds")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "icon_classifier.serving.forkserver", str(theirs.fileno()), *exports],
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
        """Block until there is a kernel; returns its (pid, pidfd). `request`: `forkserver.become_kernel`'s arguments.

        Raises `Unforkable`.
        """
        self.wait()
        with self._lock:
            try:
                self._channel.send(json.dumps(request).encode())
            except OSError as error:
                raise Unforkable(f"the warm process is gone ({error})") from error
            answer, pidfds = self._receive(FORK)
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


class VisitorKernel(ServerKernelManager):
    """Manages one visitor's kernel. Its provisioner is set here, for entry points exist only in installed packages."""

    @default("transport")
    def _our_transport(self):
        return "ipc" if sys.platform == "linux" else "tcp"  # sockets that are files, in a folder that is only ours

    async def _async_pre_start_kernel(self, **kwargs):
        if self.provisioner is None:
            self.provisioner = ForkProvisioner(
                kernel_id=kwargs.get("kernel_id", ""), kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kwargs)


class VisitorKernelManager(AsyncMappingKernelManager):
    """Manages the kernels of all visitors."""

    places = Integer(
        0, config=True, help="At most so many visitors at a time; 0: as many as memory allows. ICON_VISITORS overrides."
    )
    absence = Integer(
        40, config=True, help="Seconds after which a kernel ends that no page is connected to; it may be on its way."
    )

    @default("kernel_manager_class")
    def _our_kernel_manager_class(self):
        return f"{__name__}.VisitorKernel"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._arriving, self._seen, self._plain, self._forkserver = set(), {}, set(), None
        self._ended, self._asking = False, ThreadPoolExecutor(1)  # one question to the warm process at a time
        self._start_forkserver()

    # The warm process

    def _start_forkserver(self):
        try:
            self._forkserver = ForkServer(exports_of(self._notebooks()))
        except (Unforkable, OSError) as error:
            self._give_up(error)

    def _notebooks(self):
        one = getattr(self.parent, "notebook_path", None)
        return [Path(one)] if one else sorted(Path(self.root_dir).glob("*.ipynb"))

    def _give_up(self, reason):
        if str(reason) not in self._plain:
            self._plain.add(str(reason))
            self.log.warning("Visitors get kernels that are slower to start and need more memory: %s.", reason)

    def _ask(self, question):
        return asyncio.get_running_loop().run_in_executor(self._asking, question)

    async def _wait(self):
        """Whether the warm process is there; waits until it is ready."""
        if self._forkserver:
            try:
                await self._ask(self._forkserver.wait)
            except Unforkable as error:
                self._give_up(error)
                self._forkserver.close()
                self._forkserver = None
        return self._forkserver is not None

    async def fork(self, cmd, env, cwd):
        """The (pid, pidfd) of a kernel that does what `cmd` would; None where it cannot be had by a fork."""
        args = arguments_of(cmd)
        for _ in range(2):
            if args is None or not await self._wait():
                return None
            server = self._forkserver
            try:
                return await self._ask(partial(server.fork, args=args, env=env, cwd=str(cwd)))
            except Unforkable as error:
                self.log.warning("The process that visitors' kernels are forked from is started anew: %s.", error)
                if server is self._forkserver:  # another visitor may have seen to it
                    server.close()
                    self._start_forkserver()
        return None

    # The cap

    def room(self):
        """How many visitors there may be at a time, as far as that is known now."""
        wanted = os.environ.get("ICON_VISITORS", "")
        if wanted.isdigit() and int(wanted):
            return int(wanted)
        return self.places or self._room_in_memory()

    def _room_in_memory(self):
        heavy = bool(self._forkserver and self._forkserver.report and self._forkserver.report.get("heavy"))
        each = VISITOR["fastai" if heavy else "onnxruntime"][self._forkserver is None]
        base = SERVER + WORK
        if self._forkserver:
            base += memory.used([self._forkserver.process.pid]) // memory.MB
        return max(1, int((memory.limit() // memory.MB - base) // each))

    async def places_ready(self):
        """How many visitors there may be at a time; waits until the warm process is ready."""
        await self._wait()
        return self.room()

    def forks(self):
        """Whether kernels are forked."""
        return self._forkserver is not None

    def visitors(self):
        """How many visitors there are, those included whose kernel is just being started."""
        return len(self._arriving.union(self.list_kernel_ids()))

    async def start_kernel(self, *, kernel_id=None, **kwargs):
        """Start a kernel and return its id; raises HTTP error 503 where there is no place for another one."""
        room = await self.places_ready()
        if self.visitors() >= room:  # from here to `add` nothing is awaited: nobody can slip in between
            raise HTTPError(503, "There is no place for another visitor.")
        kernel_id = kernel_id or str(uuid.uuid4())
        self._arriving.add(kernel_id)
        self._seen[kernel_id] = time.monotonic()
        try:
            return await super().start_kernel(kernel_id=kernel_id, **kwargs)
        finally:
            self._arriving.discard(kernel_id)

    # The end of kernels

    def seen(self, kernel_id):
        """Note that the visitor's page is there, so that the kernel is kept."""
        if kernel_id in self._seen:
            self._seen[kernel_id] = time.monotonic()

    def notify_disconnect(self, kernel_id):
        super().notify_disconnect(kernel_id)
        self.seen(kernel_id)

    async def cull_kernels(self):
        await super().cull_kernels()
        if self._ended:  # what the server kept for a kernel hangs together in circles, 250 kB that nothing else frees
            self._ended = False
            gc.collect()
            memory.trim()

    async def cull_kernel_if_idle(self, kernel_id):
        """End a kernel whose page is gone; every `cull_interval` this is asked for each."""
        absent = time.monotonic() - self._seen.get(kernel_id, 0)
        if not self._kernel_connections.get(kernel_id) and absent > self.absence:
            self.log.info("Nobody is connected to kernel %s any more.", kernel_id)
            await self.shutdown_kernel(kernel_id)
        else:
            await super().cull_kernel_if_idle(kernel_id)

    async def shutdown_kernel(self, kernel_id, now=True, restart=False):
        """End a kernel at once, with its connections: there is nothing in it that is worth a farewell."""
        self._check_kernel_id(kernel_id)
        self._seen.pop(kernel_id, None)
        for connection in list(ZMQChannelsWebsocketConnection._open_sockets):
            if connection.kernel_id == kernel_id:
                connection.websocket_handler.close()
        self._ended = True
        return await super().shutdown_kernel(kernel_id, now=True, restart=restart)

    def _handle_kernel_died(self, kernel_id):
        self.log.warning("Kernel %s died.", kernel_id)
        self._ending = asyncio.ensure_future(self.shutdown_kernel(kernel_id))  # kept, or it may vanish

    async def shutdown_all(self, now=True):
        if self._forkserver:
            self._forkserver.close()
            self._forkserver = None
        await super().shutdown_all(now=True)


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
