"""Executes a notebook with papermill, shows its progress, and stops it if it stalls."""

import os
import re
import signal
import time
from contextlib import suppress

import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.asynchronous import AsyncKernelClient
from nbclient.exceptions import CellExecutionComplete
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from .shell_channel import ShellChannel


class StalledError(RuntimeError):
    """The notebook no longer makes progress; the message says why."""


class Screen:
    """Shows sections as they begin, what cells print, and epochs as they end, in `files` (a terminal and a log, say).

    What the kernel writes to stderr goes to the last of them only.
    """

    def __init__(self, *files):
        self.files = files
        self.log = files[-1]
        self.began = time.monotonic()
        self.epochs = {}  # rows shown of each table
        self.fresh = True  # at the beginning of a line

    def write(self, text):
        """Write `text` to all files."""
        for file in self.files:
            file.write(text)
            file.flush()
        self.fresh = text.endswith("\n")

    def section(self, cell, **_):
        """Show the heading with which a section of the notebook begins."""
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.*)", cell.source)):
            seconds = int(time.monotonic() - self.began)
            self.write(f"{'' if self.fresh else chr(10)}[{seconds // 60}:{seconds % 60:02}] {heading[1]}\n")

    def message(self, msg):
        """Show what a message of the kernel brings."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream" and content["name"] == "stdout":
            self.write(content["text"])
        elif kind == "stream":
            self.log.write(content["text"])
            self.log.flush()
        elif "fastprogress" in (html := content.get("data", {}).get("text/html", "")):
            self.table(content.get("transient", {}).get("display_id"), html)

    def table(self, display, html):
        """Show the rows of fastai's table of epochs that were not there yet; it is sent anew with each step."""
        rows = re.findall(r"<tr>.*?</tr>", html, re.DOTALL)
        shown = self.epochs.get(display, 0)
        for row in rows[shown:]:
            cells = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            self.write("  ".join(f"{cell.strip():<10}" for cell in cells).rstrip() + "\n")
        self.epochs[display] = max(shown, len(rows))


class KernelClient(AsyncKernelClient):
    shell_channel_class = ShellChannel


class KernelManager(AsyncKernelManager):
    client_factory = KernelClient


class NotebookClient(PapermillNotebookClient):
    """Executes the cells, shows their progress, and stops if the kernel stalls."""

    idle_timeout = 60  # seconds between the kernel's status "idle" and its reply
    quiet_timeout = 600  # seconds without a message in which the kernel must have used 1 % of a processor
    idle_since = None

    def __init__(self, nb_man, screen, **kwargs):
        super().__init__(nb_man, kernel_manager_class=KernelManager, on_cell_start=screen.section, **kwargs)
        self.on_cell_execute = self._begin
        self.screen = screen

    def execute(self, **kwargs):
        """Execute the notebook; whatever interrupts it, no process is left. Raises `StalledError`."""
        self.reset_execution_trackers()
        try:
            with self.setup_kernel(**kwargs):
                self.kernel = psutil.Process(self.km.provisioner.pid)
                self.kc.shell_channel.check = self._check
                try:
                    self.papermill_execute_cells()
                    self.set_widgets_metadata()
                except BaseException:
                    self._kill()
                    raise
        except BaseException:
            self._kill()
            raise

    def process_message(self, msg, cell, cell_index):
        self._heard = time.monotonic()
        self.screen.message(msg)
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            self.idle_since = time.monotonic()
            raise

    def _begin(self, **_):
        self.idle_since = None
        self._heard = self._looked = time.monotonic()
        self._computed = self._computing()

    def _check(self):
        now = time.monotonic()
        if self.idle_since and now - self.idle_since > self.idle_timeout:
            raise StalledError(f"its kernel has been idle for {self.idle_timeout} s, but its reply never came")
        if now - self._looked < self.quiet_timeout:
            return
        computed = self._computing()
        if self._heard <= self._looked and abs(computed - self._computed) < 0.01 * (now - self._looked):
            raise StalledError(f"for {self.quiet_timeout} s its kernel has neither computed nor said anything")
        self._looked = now
        self._computed = computed

    def _computing(self):
        """Return the seconds of processor time that the kernel and its children have used."""
        total = 0
        for process in [self.kernel, *self.kernel.children(recursive=True)]:
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total

    def _kill(self):
        """End the kernel and its children, which are in its process group."""
        if self.km and (pid := getattr(self.km.provisioner, "pid", None)):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


class ShowingEngine(Engine):
    """papermill's engine with the client above."""

    name = "showing"

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, screen, start_timeout=None, **_):
        client = NotebookClient(nb_man, screen, kernel_name=kernel_name, startup_timeout=180)
        client.execute(stdout=screen.log, stderr=screen.log)


papermill_engines.register(ShowingEngine.name, ShowingEngine)


def execute(notebook, output, parameters, screen, **options):
    """Execute `notebook` with `parameters` (Python values) and write it to `output`; returns it.

    `screen`: a `Screen`. `options`: more for papermill, such as `cwd`. Raises
    papermill's `PapermillExecutionError` for a cell's error, nbclient's `DeadKernelError`, and `StalledError`.
    """
    return papermill.execute_notebook(
        notebook,
        output,
        parameters,
        ShowingEngine.name,
        language="python",
        kernel_name="python3",
        progress_bar=False,
        screen=screen,
        **options,
    )
