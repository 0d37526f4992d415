"""Execute a notebook with papermill, show its progress, and stop it if it stalls."""

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

from .errors import IconClassifierError
from .shell_channel import ShellChannel


class StalledError(IconClassifierError, RuntimeError):
    """The notebook makes no progress. The message says why."""


class Screen:
    """Shows the notebook's sections, printed output, and epochs, as they happen.

    files: where to write, such as a terminal and a log. The stderr of the kernel is written to the last one only.
    """

    def __init__(self, *files):
        self.files = files
        self.log = files[-1]
        self.began = time.monotonic()
        self.epochs = {}  # {table: number of rows shown}
        self.fresh = True  # whether the output is at the beginning of a line

    def write(self, text):
        """Write `text` to all files."""
        for file in self.files:
            file.write(text)
            file.flush()
        self.fresh = text.endswith("\n")

    def section(self, cell, **_):
        """Show the heading if a section of the notebook begins with `cell`."""
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.*)", cell.source)):
            seconds = int(time.monotonic() - self.began)
            self.write(f"{'' if self.fresh else chr(10)}[{seconds // 60}:{seconds % 60:02}] {heading[1]}\n")

    def message(self, msg):
        """Show the content of a kernel's message."""
        kind = msg["msg_type"]
        content = msg["content"]
        if kind == "stream" and content["name"] == "stdout":
            self.write(content["text"])
        elif kind == "stream":
            self.log.write(content["text"])
            self.log.flush()
        elif "fastprogress" in (html := content.get("data", {}).get("text/html", "")):
            self.table(content.get("transient", {}).get("display_id"), html)

    def table(self, display, html):
        """Show the new rows of fastai's table of epochs, which is sent completely after each step."""
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
    quiet_timeout = 600  # seconds without a message, in which the kernel used less than 1% of a processor
    idle_since = None

    def __init__(self, nb_man, screen, **kwargs):
        super().__init__(nb_man, kernel_manager_class=KernelManager, on_cell_start=screen.section, **kwargs)
        self.on_cell_execute = self._begin
        self.screen = screen

    def execute(self, **kwargs):
        """Execute the notebook, and leave no process behind if it is interrupted. Raises `StalledError`."""
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
        self._looked = time.monotonic()
        self._heard = self._looked
        self._computed = self._computing()

    def _check(self):
        now = time.monotonic()
        if self.idle_since and now - self.idle_since > self.idle_timeout:
            raise StalledError(f"the kernel has been idle for {self.idle_timeout} s, but has sent no reply")
        if now - self._looked < self.quiet_timeout:
            return
        computed = self._computing()
        if self._heard <= self._looked and abs(computed - self._computed) < 0.01 * (now - self._looked):
            raise StalledError(f"for {self.quiet_timeout} s the kernel has neither computed nor sent a message")
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
    """A papermill engine that uses `NotebookClient`."""

    name = "showing"

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, screen, start_timeout=None, **_):
        client = NotebookClient(nb_man, screen, kernel_name=kernel_name, startup_timeout=180)
        client.execute(stdout=screen.log, stderr=screen.log)


papermill_engines.register(ShowingEngine.name, ShowingEngine)


def execute(notebook, output, parameters, screen, **options):
    """Execute `notebook` with `parameters` (Python values), write it to `output`, and return it.

    screen: a `Screen`. options: further arguments of papermill, such as `cwd`.
    Raises papermill's `PapermillExecutionError` for an error in a cell, nbclient's `DeadKernelError`, and
    `StalledError`.
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
