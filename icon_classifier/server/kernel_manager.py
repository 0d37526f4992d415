"""Upper floor: the kernels of all visitors: no more than memory allows, and none left behind."""

# `voila.json` names `VisitorKernelManager` as the class that manages Voila's kernels. It starts `fork_server.py` with
# the server. Where forking is impossible a visitor gets a plain kernel, a process of its own, and the log says why
# once.

import asyncio
import gc
import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from tornado.web import HTTPError
from traitlets import Integer, default

from ..page.decode_lock import trim_memory
from ..shell_channel import ShellChannel
from . import capacity
from .fork_pool import ForkProvisioner, ForkServer, Unforkable, arguments_of, exports_of
from .port import refusal
from .visits import Visits


class VisitorKernelClient(AsyncKernelClient):
    """Runs the page's cells in one visitor's kernel."""

    shell_channel_class = ShellChannel

    async def wait_for_ready(self, timeout=60):
        """Wait until the kernel answers; end one that does not within `timeout` seconds.

        The method of its parent ends with 0.2 s of listening for what a kernel tells its other clients; here are none.
        And it raises an error, which in Voila nobody hears, so that the page would wait for ever. Without one, a kernel
        that has ended is noticed at the first cell, and the page says so.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and await self.is_alive():
            self.kernel_info()
            try:
                await self.get_shell_msg(timeout=1)
                return await self.get_iopub_msg(timeout=0.2)  # what cells print comes on this channel
            except Empty:
                pass
        kernels, kernel_id = self.parent.parent, self.parent.kernel_id
        if kernel_id in kernels:
            await kernels.shutdown_kernel(kernel_id)


class VisitorKernel(ServerKernelManager):
    """Manages one visitor's kernel. Its provisioner is set here, for entry points exist only in installed packages."""

    @default("client_factory")
    def _our_client_factory(self):
        return VisitorKernelClient

    @default("transport")
    def _our_transport(self):
        return "ipc" if sys.platform == "linux" else "tcp"  # sockets that are files, in a folder that is only ours

    async def _async_pre_start_kernel(self, **kwargs):
        if self.provisioner is None:
            self.provisioner = ForkProvisioner(
                kernel_id=kwargs.get("kernel_id", ""), kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kwargs)


class Backlog(list):
    """What a kernel says while its page is away: (channel, message) each; what would be too much is forgotten."""

    size = 0  # bytes

    def append(self, said):
        self.size += sum(map(len, said[1]))
        if self.size <= capacity.WAITING:
            super().append(said)


class VisitorKernelManager(AsyncMappingKernelManager):
    """Manages the kernels of all visitors."""

    places = Integer(
        0, config=True, help="At most so many visitors at a time; 0: as many as memory allows. ICON_VISITORS overrides."
    )
    absence = Integer(
        40, config=True, help="Seconds after which a kernel ends whose page was connected, and is heard of no more."
    )
    arrival = Integer(
        20, config=True, help="The same for a page that has never connected; it may be on its way to a slow phone."
    )
    patience = Integer(10, config=True, help="The same for such a page while its place is wanted by a newcomer.")

    @default("kernel_manager_class")
    def _our_kernel_manager_class(self):
        return f"{__name__}.VisitorKernel"

    def __init__(self, **kwargs):
        voila = kwargs.get("parent")
        if getattr(voila, "port_retries", 1) == 0 and (reason := refusal(voila.port, voila.ip)):
            sys.exit(reason)
        capacity.share()
        capacity.open_files()
        super().__init__(**kwargs)
        self.context.max_sockets = capacity.SOCKETS
        self._visits, self._yielding, self._endings = Visits(), set(), set()
        self._plain, self._forkserver = set(), None
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
        if server := self._forkserver:
            try:
                await self._ask(server.wait)
            except Unforkable as error:
                self._give_up(error)
                if server is self._forkserver:  # another visitor may have seen to it
                    server.close()
                    self._forkserver = None
        return self._forkserver is not None

    async def fork(self, cmd, env, cwd):
        """The (pid, pidfd) of a kernel that does what `cmd` would; None where it cannot be had by a fork.

        Raises HTTP error 503 where the system has no process more to give.
        """
        args = arguments_of(cmd)
        for _ in range(2):
            if args is None or not await self._wait():
                return None
            server = self._forkserver
            try:
                return await self._ask(partial(server.fork, args=args, env=env, cwd=str(cwd)))
            except Unforkable as error:
                self.log.warning("The process that visitors' kernels are forked from is started anew: %s.", error)
                if server is self._forkserver:
                    server.close()
                    self._start_forkserver()
            except OSError as error:
                self.log.warning("A visitor is asked to wait, for there is no other process to be had: %s.", error)
                raise HTTPError(503) from error
        return None

    # The cap

    async def places_ready(self):
        """How many visitors there may be at a time; waits until the warm process is ready, to know what it takes."""
        forked = await self._wait()
        wanted = os.environ.get("ICON_VISITORS", "")
        if wanted.isdigit() and int(wanted):
            return int(wanted)
        return self.places or capacity.places(self._forkserver.report if forked else None)

    def forks(self):
        """Whether kernels are forked."""
        return self._forkserver is not None

    def visitors(self):
        """How many visitors there are, those included whose kernel is just being started."""
        return len(self._visits.keys() | set(self.list_kernel_ids()) - self._yielding)

    async def start_kernel(self, *, kernel_id=None, **kwargs):
        """Start a kernel and return its id; raises HTTP error 503 where there is no place for another one."""
        room = await self.places_ready()
        absent = None
        if self.visitors() >= room:  # from here to `begin` nothing is awaited: nobody can slip in between
            absent = self._visits.longest_absent(self.patience)
            if not absent:
                raise HTTPError(503, "There is no place for another visitor.")
            self.log.info("Kernel %s, which no page ever connected to, yields to a newcomer.", absent)
            self._yielding.add(absent)
            del self._visits[absent]
        kernel_id = kernel_id or str(uuid.uuid4())
        visit = self._visits.begin(kernel_id, asyncio.current_task())
        try:
            if absent in self:
                await self.shutdown_kernel(absent)
            await super().start_kernel(kernel_id=kernel_id, **kwargs)
            visit.started = True
            return kernel_id
        finally:
            self._yielding.discard(absent)
            if kernel_id not in self:
                self._visits.pop(kernel_id, None)

    # The end of kernels

    def seen(self, kernel_id):
        """Note that the visitor's page is there, so that the kernel is kept."""
        self._visits.hear(kernel_id)

    def leave(self, page):
        """Note that a visitor left while the task `page` sent them the page, so that their kernel ends soon."""
        self._visits.leave(page)

    def notify_connect(self, kernel_id):
        super().notify_connect(kernel_id)
        self._visits.hear(kernel_id, connected=True)

    def notify_disconnect(self, kernel_id):
        super().notify_disconnect(kernel_id)
        self.seen(kernel_id)

    def start_buffering(self, kernel_id, session_key, channels):
        """Keep what a kernel says while its page is away; not of one that is just ending: nobody would close these."""
        if kernel_id in self._visits:
            super().start_buffering(kernel_id, session_key, channels)
            self._kernel_buffers[kernel_id]["buffer"] = Backlog()
            return
        for stream in channels.values():
            stream.close()

    async def cull_kernels(self):
        await super().cull_kernels()
        if self._ended:  # what the server kept for a kernel hangs together in circles, 250 kB that nothing else frees
            self._ended = False
            gc.collect()
            trim_memory()

    async def cull_kernel_if_idle(self, kernel_id):
        """End a kernel whose page is gone; every `cull_interval` this is asked for each."""
        visit = self._visits.get(kernel_id)
        patience = self.absence if visit and visit.connected else self.arrival
        if not self._kernel_connections.get(kernel_id) and (not visit or visit.absent() > patience):
            self.log.info("Nobody is connected to kernel %s any more.", kernel_id)
            await self.shutdown_kernel(kernel_id)
        else:
            await super().cull_kernel_if_idle(kernel_id)

    async def shutdown_kernel(self, kernel_id, now=True, restart=False):
        """End a kernel at once, with its connections: there is nothing in it that is worth a farewell."""
        self._check_kernel_id(kernel_id)
        self._visits.pop(kernel_id, None)
        for connection in list(ZMQChannelsWebsocketConnection._open_sockets):
            if connection.kernel_id == kernel_id:
                connection.websocket_handler.close()
        self._ended = True
        return await super().shutdown_kernel(kernel_id, now=True, restart=restart)

    def _handle_kernel_died(self, kernel_id):
        self.log.warning("Kernel %s died.", kernel_id)
        ending = asyncio.ensure_future(self.shutdown_kernel(kernel_id))
        self._endings.add(ending)  # or it may vanish
        ending.add_done_callback(self._endings.discard)

    async def shutdown_all(self, now=True):
        if self._forkserver:
            self._forkserver.close()
            self._forkserver = None
        await super().shutdown_all(now=True)
