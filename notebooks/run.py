"""Run train.ipynb from the terminal, as `make train` does: show what happens, and end with a sentence if it fails."""

import argparse
import ast
import logging
import os
import re
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError

TYPED = "SOURCE", "PHOTOS", "NAMES", "OTHERS", "EPOCHS"  # make's variables; make hands over what was typed: TYPED_NAMES
PATHS = "photos", "others"  # settings that are text though their default is None
PACKAGE = Path(__file__).parent.parent / "icon_classifier"


class SettingsError(ValueError):
    """What was typed cannot be a setting; the message says why."""


class StalledError(RuntimeError):
    """The notebook makes no progress any more; the message says what was seen."""


# What was typed


def defaults(notebook):
    """Return the settings of a notebook's cell tagged `parameters`, by name; those that are no literals are None."""
    found = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            for line in ast.parse(cell.source).body:
                with suppress(ValueError, AttributeError):
                    found[line.targets[0].id] = None
                    found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def literal(text):
    """Return the Python value that `text` is; raises ValueError where it is none."""
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error
    return list(value) if isinstance(value, tuple) else value


def read_setting(name, text, known):
    """Return the value of the setting `name` that was typed as `text`; raises `SettingsError`."""
    if name not in known:
        raise SettingsError(f"There is no setting {name!r}. The settings: {', '.join(known)}.")
    if name in PATHS or isinstance(known[name], str):
        return text
    try:
        value = literal(text)
    except ValueError:
        value = text
    if name == "names":
        return value if isinstance(value, list | dict) else split_labels(text)
    if name == "epochs" and value is not None and (type(value) is not int or value < 1):
        raise SettingsError(f"epochs is a whole number of at least 1, not {text!r}.")
    if not isinstance(value, int | float | list | dict | None):
        raise SettingsError(f"{name} is a number, True, False or None, not {text!r}.")
    return value


def split_labels(text):
    """Return the labels that commas separate in `text`, exactly as they were typed otherwise."""
    return [label.strip() for label in text.split(",") if label.strip()]


def split_args(text):
    """Return the words of ARGS, in which quotes count as in a shell; raises `SettingsError`."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"ARGS cannot be read ({error}): {text}") from error


def read_settings(typed, pairs, known):
    """Return the notebook's parameters as Python values; raises `SettingsError`.

    typed: the text of make's variables by name, "" where none was given; `pairs`: (setting, text) of each -p.
    """
    values = {}
    for variable in TYPED:
        name, text = variable.lower(), typed.get(variable, "")
        if text:
            values[name] = read_setting(name, text, known)
            if name == "names":  # [a] is a label here, and no list
                values[name] = split_labels(text)
    values.update((name, read_setting(name, text, known)) for name, text in pairs)
    if "source" in known:
        values.setdefault("source", "search" if "names" in values else "folder" if "photos" in values else "sample")
    if "names" in values and values.get("source", "search") != "search":
        raise SettingsError(
            f"NAMES says what to search for, and SOURCE={values['source']} searches for nothing: leave one of them out."
        )
    if len(values.get("names", "ab")) < 2:
        raise SettingsError(f"NAMES needs at least two labels, with commas between them, not only {values['names']}.")
    return values


# The run


class Screen:
    """What is shown: sections as they begin, what cells print, epochs as they end. All of it goes into the log too."""

    def __init__(self, log):
        self.log, self.began, self.epochs, self.fresh = log, time.monotonic(), {}, True

    def write(self, text):
        """Write `text` to the terminal and to the log."""
        for file in (sys.stdout, self.log):
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


class ShellChannel(AsyncZMQSocketChannel):
    """The channel on which the kernel replies that a cell is done; it looks again each second while it waits.

    nbclient answers what a cell displays within an Output widget (the cleaner's photos are such) with a message on
    this channel, and jupyter_client sends it past asyncio. If the reply arrives at that moment, ZeroMQ's edge-triggered
    file descriptor is read along with it, asyncio is never woken, and a wait without a limit never ends.
    """

    check = staticmethod(lambda: None)  # called each second; raises where waiting is in vain

    async def get_msg(self, timeout=None):
        if timeout is not None:
            return await super().get_msg(timeout)
        while not await self.socket.poll(1000):
            self.check()
        return await self._recv()


class KernelClient(AsyncKernelClient):
    shell_channel_class = ShellChannel


class KernelManager(AsyncKernelManager):
    client_factory = KernelClient


class NotebookClient(PapermillNotebookClient):
    """Executes the cells, shows what happens, and ends when the kernel makes no progress any more."""

    idle_limit = 60  # s in which a reply must follow the kernel's word that it is done with a cell
    quiet_limit = 600  # s without a message in which the kernel must have computed something, 1 % of the time
    idle_since = None

    def __init__(self, nb_man, screen, **kwargs):
        super().__init__(nb_man, kernel_manager_class=KernelManager, on_cell_start=screen.section, **kwargs)
        self.on_cell_execute, self.screen = self._begin, screen

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
        self.idle_since, self._heard = None, time.monotonic()
        self._looked, self._computed = self._heard, self._computing()

    def _check(self):
        now = time.monotonic()
        if self.idle_since and now - self.idle_since > self.idle_limit:
            raise StalledError(f"its kernel has been idle for {self.idle_limit} s, but its reply never came")
        if now - self._looked < self.quiet_limit:
            return
        computed = self._computing()
        if self._heard <= self._looked and abs(computed - self._computed) < 0.01 * (now - self._looked):
            raise StalledError(f"for {self.quiet_limit} s its kernel has neither computed nor said anything")
        self._looked, self._computed = now, computed

    def _computing(self):
        """The seconds of processor time that the kernel and its children have taken."""
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

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, screen, start_timeout=None, **_):
        client = NotebookClient(nb_man, screen, kernel_name=kernel_name, startup_timeout=180)
        client.execute(stdout=screen.log, stderr=screen.log)


papermill_engines.register("showing", ShowingEngine)


# What went wrong


def sentence(error):
    """Say in a line what an error in the notebook means: its message alone where that is a sentence of ours."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    ours = error.ename in re.findall(r"^class (\w+)\(", code, re.MULTILINE)
    stated = error.ename == "AssertionError" and "assert" in error.source
    if error.evalue and (ours or stated):
        return error.evalue
    return f"{error.ename}: {error.evalue}" if error.evalue else error.ename


def run(notebook, output, log, parameters):
    """Run a notebook with `parameters` (Python values) in this folder; return an exit code, 0 where all went well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        screen = Screen(file)
        try:
            papermill.execute_notebook(
                notebook,
                output,
                parameters,
                "showing",
                language="python",
                kernel_name="python3",
                progress_bar=False,
                screen=screen,
            )
            return 0
        except PapermillExecutionError as error:
            file.write(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)) + "\n")
            code, last = 1, sentence(error)
        except DeadKernelError:
            code, last = 1, "The notebook's kernel was ended from outside, most often because memory ran out."
        except StalledError as error:
            code, last = 1, f"The notebook stands still: {error}. Run it again."
        except KeyboardInterrupt:
            code, last = 130, "Interrupted."
        screen.write("" if screen.fresh else "\n")
        print(f"The notebook as it ran: {output}. All that was printed: {log}.", last, sep="\n", file=sys.stderr)
        return code


def main():
    """Read what was typed, and run the notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="-p size 128")
    parser.add_argument("--notebook", default="notebooks/train.ipynb", type=Path)
    parser.add_argument("--output", default=".run/train.ipynb", type=Path, help="the notebook as it ran")
    logging.disable(logging.CRITICAL)  # papermill, nbclient and asyncio have nothing to say that `run` does not say
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        args = parser.parse_args([*sys.argv[1:], *split_args(os.environ.get("TYPED_ARGS", ""))])
        typed = {name: os.environ.get(f"TYPED_{name}", "") for name in TYPED}
        parameters = read_settings(typed, args.p, defaults(args.notebook))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    about = ": about 2 minutes without a GPU" if parameters.get("source") == "sample" else ""
    print(f"Training ({parameters.get('source')}){about}. The notebook as it runs: {args.output}", flush=True)
    return run(args.notebook, args.output, args.output.with_suffix(".log"), parameters)


if __name__ == "__main__":
    sys.exit(main())
