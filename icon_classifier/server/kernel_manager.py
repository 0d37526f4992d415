"""Define the kernel manager, which starts and ends the visitors' kernels and limits their number."""

# `voila.json` names `VisitorKernelManager` as the class that manages Voila's kernels. It starts the fork server
# (fork_server.py) with the web server. If forking is impossible, kernels are ordinary processes, and the log says why.

import asyncio
import gc
import os
import sys
import time
import uuid
from pathlib import Path
from queue import Empty

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from tornado.web import HTTPError
from traitlets import Integer, default

from ..page.decode_lock import trim_memory
from ..shell_channel import ShellChannel
from . import capacity
from .fork_pool import ForkPool
from .jupyter_internals import close_connections, connections_to, replace_buffer
from .port import refusal
from .provisioner import ForkProvisioner
from .static_page import static_only
from .visits import Visits


class VisitorKernelClient(AsyncKernelClient):
    """Runs the page's cells in one visitor's kernel.

    end_kernel: called without arguments, and awaited, if the kernel does not become ready.
    """

    shell_channel_class = ShellChannel

    def __init__(self, *, end_kernel, **kwargs):
        super().__init__(**kwargs)
        self._end_kernel = end_kernel

    async def wait_for_ready(self, timeout=60):
        """Wait until the kernel responds, and end it if it does not within `timeout` seconds.

        The inherited method waits another 0.2 s for messages to other clients, and there are none here. It also raises
        an error on a timeout, which Voila does not handle, so that the page would wait for ever. Without an error, the
        first cell notices that the kernel has ended, and the page says so.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and await self.is_alive():
            self.kernel_info()
            try:
                await self.get_shell_msg(timeout=1)
                return await self.get_iopub_msg(timeout=0.2)  # the channel of the cells' output
            except Empty:
                pass
        await self._end_kernel()


class VisitorKernel(ServerKernelManager):
    """Manages one visitor's kernel.

    fork_pool: the `ForkPool` that forks it.
    end_kernel: ends the kernel with a given id, if there is one; awaited.
    """

    def __init__(self, *, fork_pool, end_kernel, **kwargs):
        super().__init__(**kwargs)
        self._fork_pool = fork_pool
        self._end_kernel = end_kernel

    @default("client_factory")
    def _visitor_client_factory(self):
        return VisitorKernelClient

    @default("transport")
    def _visitor_transport(self):
        return "ipc" if sys.platform == "linux" else "tcp"  # ipc: files in a folder that no other user can read

    def client(self, **kwargs):
        return super().client(end_kernel=lambda: self._end_kernel(self.kernel_id), **kwargs)

    async def _async_pre_start_kernel(self, **kwargs):
        if self.provisioner is None:  # set here, because entry points exist only in installed packages
            self.provisioner = ForkProvisioner(
                fork_pool=self._fork_pool,
                kernel_id=kwargs.get("kernel_id", ""),
                kernel_spec=self.kernel_spec,
                parent=self,
            )
        return await super()._async_pre_start_kernel(**kwargs)


class MessageBuffer(list):
    """Keeps a kernel's messages (channel, message) while its page is disconnected, up to a maximum of bytes."""

    size = 0  # bytes

    def append(self, entry):
        self.size += sum(map(len, entry[1]))
        if self.size <= capacity.MAX_PENDING_BYTES:
            super().append(entry)


class VisitorKernelManager(AsyncMappingKernelManager):
    """Manages the kernels of all visitors."""

    max_kernels = Integer(
        0,
        config=True,
        help="The maximum number of visitors at a time; 0: as many as memory allows. ICON_VISITORS overrides it.",
    )
    disconnect_timeout = Integer(
        40, config=True, help="Seconds after which a kernel is ended if its page has disconnected."
    )
    connect_timeout = Integer(
        20, config=True, help="Seconds after which a kernel is ended if its page never connected and no longer polls."
    )
    replace_timeout = Integer(
        10, config=True, help="The same as connect_timeout, if the server is full and there is a new visitor."
    )

    def __init__(self, **kwargs):
        voila = kwargs.get("parent")
        if getattr(voila, "port_retries", 1) == 0 and (reason := refusal(voila.port, voila.ip)):
            sys.exit(reason)
        capacity.return_freed_memory()
        capacity.raise_file_limit()
        super().__init__(**kwargs)
        self.context.max_sockets = capacity.MAX_SOCKETS
        self.context.RCVHWM = capacity.MAX_QUEUED_MESSAGES  # of the sockets that it creates
        self.fork_pool = ForkPool([] if static_only() else self._notebooks(), self.log)
        self._visits = Visits()
        self._replaced = set()  # kernels that are being ended to admit a new visitor
        self._endings = set()  # tasks that end dead kernels
        self._ended = False  # whether a kernel has ended since the last garbage collection

    @default("kernel_manager_factory")
    def _visitor_kernel_factory(self):
        def create_kernel_manager(**kwargs):
            return VisitorKernel(context=self.context, fork_pool=self.fork_pool, end_kernel=self.end_kernel, **kwargs)

        return create_kernel_manager

    def _notebooks(self):
        one = getattr(self.parent, "notebook_path", None)
        return [Path(one)] if one else sorted(Path(self.root_dir).glob("*.ipynb"))

    # Capacity

    async def capacity(self):
        """Return the maximum number of visitors at a time. Waits for the fork server, because its memory counts."""
        report = await self.fork_pool.report()
        wanted = os.environ.get("ICON_VISITORS", "")
        if wanted.isdigit() and int(wanted):
            return int(wanted)
        return self.max_kernels or capacity.max_kernels(report)

    def forks(self):
        """Return whether kernels are forked."""
        return self.fork_pool.forks

    def visitors(self):
        """Return the number of visitors, including those whose kernel is starting."""
        return len(self._visits.keys() | set(self.list_kernel_ids()) - self._replaced)

    async def start_kernel(self, *, kernel_id=None, **kwargs):
        """Start a kernel and return its id. Raises HTTP error 503 if the server is full."""
        most = await self.capacity()
        absent = None
        if self.visitors() >= most:  # nothing is awaited between here and `begin`, so no other visitor can intervene
            absent = self._visits.longest_absent(self.replace_timeout)
            if not absent:
                raise HTTPError(503, "The server is full.")
            self.log.info("Kernel %s is ended to admit a new visitor because no page connected to it.", absent)
            self._replaced.add(absent)
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
            self._replaced.discard(absent)
            if kernel_id not in self:
                self._visits.pop(kernel_id, None)

    # Ending kernels

    def note_activity(self, kernel_id):
        """Record a sign of life of the kernel's page, so that the kernel is kept."""
        self._visits.hear(kernel_id)

    def leave(self, task):
        """Record that a visitor left while `task` was sending the page, so that their kernel is ended soon."""
        self._visits.leave(task)

    def notify_connect(self, kernel_id):
        super().notify_connect(kernel_id)
        self._visits.hear(kernel_id, connected=True)

    def notify_disconnect(self, kernel_id):
        super().notify_disconnect(kernel_id)
        self.note_activity(kernel_id)

    def start_buffering(self, kernel_id, session_key, channels):
        """Keep a kernel's messages while its page is disconnected. If the kernel is ending, close the channels instead.

        Jupyter would never close them.
        """
        if kernel_id in self._visits:
            super().start_buffering(kernel_id, session_key, channels)
            replace_buffer(self, kernel_id, MessageBuffer())
            return
        for stream in channels.values():
            stream.close()

    async def cull_kernels(self):
        await super().cull_kernels()
        if self._ended:  # a kernel leaves 250 kB of reference cycles, which only the garbage collector frees
            self._ended = False
            gc.collect()
            trim_memory()

    async def cull_kernel_if_idle(self, kernel_id):
        """End a kernel whose page is gone. Called for each kernel every `cull_interval`."""
        visit = self._visits.get(kernel_id)
        timeout = self.disconnect_timeout if visit and visit.connected else self.connect_timeout
        if not connections_to(self, kernel_id) and (not visit or visit.absent() > timeout):
            self.log.info("Kernel %s is ended because no page is connected to it.", kernel_id)
            await self.shutdown_kernel(kernel_id)
        else:
            await super().cull_kernel_if_idle(kernel_id)

    async def shutdown_kernel(self, kernel_id, now=True, restart=False):
        """End a kernel immediately, and its connections. It contains nothing that has to be saved."""
        if kernel_id not in self:
            raise HTTPError(404, f"There is no kernel {kernel_id}.")
        self._visits.pop(kernel_id, None)
        close_connections(kernel_id)
        self._ended = True
        return await super().shutdown_kernel(kernel_id, now=True, restart=restart)

    async def end_kernel(self, kernel_id):
        """End a kernel if it still exists."""
        if kernel_id in self:
            await self.shutdown_kernel(kernel_id)

    def _handle_kernel_died(self, kernel_id):
        self.log.warning("Kernel %s died.", kernel_id)
        ending = asyncio.ensure_future(self.shutdown_kernel(kernel_id))
        self._endings.add(ending)  # asyncio itself keeps only weak references to tasks
        ending.add_done_callback(self._endings.discard)

    async def shutdown_all(self, now=True):
        self.fork_pool.close()
        await super().shutdown_all(now=True)
