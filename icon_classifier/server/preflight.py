"""Check whether a host can serve this page, and to how many visitors."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.request
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from PIL import Image

from ..errors import IconClassifierError
from ..model.classifier import ExportError, OnnxClassifier, load_classifier
from . import capacity
from .fork_pool import ForkError, ForkServerClient, exports_of

MAX_SLUG_BYTES = 500e6  # compressed: Heroku's limit
SMALL_HOST_MEMORY = 512 * capacity.MB  # bytes: a small dyno's
START_TIMEOUT = 60  # seconds within which a host expects the port to be bound


class Failed(IconClassifierError):
    """A check failed. The message says what was found; `todo` says what to do."""

    def __init__(self, found, todo):
        super().__init__(found)
        self.todo = todo


def checks(root):
    """Run the checks on the project in the folder `root`, and yield (what, found, todo) for each.

    todo: what to do if the check failed, or "".
    """
    for what, check in [
        ("Python", _python),
        ("packages", _packages),
        ("export", _export),
        ("slug", _slug),
        ("server", _server),
    ]:
        try:
            yield what, check(Path(root)), ""
        except Failed as failure:
            yield what, str(failure), failure.todo


def _python(root):
    wanted = (root / "runtime.txt").read_text().strip().removeprefix("python-")
    found = sys.version.split()[0]
    if not f"{found}.".startswith(f"{wanted}."):
        raise Failed(found, f"the host uses {wanted} because of runtime.txt: use that here, or change runtime.txt")
    return found


def _packages(root):
    from packaging.requirements import Requirement

    lines = [line.partition("#")[0].strip() for line in (root / "requirements.txt").read_text().splitlines()]
    pins = [Requirement(line) for line in lines if line]
    wrong = []
    for pin in (pin for pin in pins if not pin.marker or pin.marker.evaluate()):
        try:
            found = version(pin.name)
        except PackageNotFoundError:
            found = "missing"
        if found == "missing" or found not in pin.specifier:
            wrong.append(f"{pin.name} {found}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        todo = "make .venv-page/ready, and run this with .venv-page/bin/python"
        raise Failed(f"different from requirements.txt: {', '.join(wrong[:3])}{more}", todo)
    return f"{len(pins)} as pinned in requirements.txt"


def _export(root):
    path = root / "export/export.pkl"
    try:
        classifier = load_classifier(path)
        classifier.predict(Image.new("RGB", (64, 64)))
    except ExportError as error:
        raise Failed("not usable", str(error)) from None
    if not isinstance(classifier, OnnxClassifier):
        raise Failed("needs fastai, which is too large for a host", f"icon-classifier compile {path}")
    return f"{path.with_name('export.onnx').stat().st_size / 1e6:.0f} MB, {len(classifier.labels)} labels"


class _Counter:
    """A file that only counts the bytes written."""

    size = 0

    def write(self, data):
        self.size += len(data)
        return len(data)


def _slug(root):
    """Measure the slug that a host would make: the environment, the code and the page's part of the export."""
    counter = _Counter()
    code = [root / name for name in ("icon_classifier", "notebooks", "requirements.txt", "Procfile", "voila.json")]
    export = [root / "export" / name for name in ("export.onnx", "card.json")]
    with gzip.open(counter, "wb", 6) as packed, tarfile.open(fileobj=packed, mode="w|") as slug:
        for path in [*map(Path, {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}), *code, *export]:
            if path.exists():
                slug.add(path, filter=lambda entry: None if "__pycache__" in entry.name else entry)
    found = f"{counter.size / 1e6:.0f} MB compressed, of at most {MAX_SLUG_BYTES / 1e6:.0f}"
    if counter.size > MAX_SLUG_BYTES:
        raise Failed(found, "run this in an environment with requirements.txt only, without fastai and PyTorch")
    return found


def _server(root):
    """Run the Procfile's command, and measure its memory before and after two visitors.

    PYTHONPATH is empty, as on a host, because the command itself should say where the package is.
    """
    began = time.monotonic()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with served(root, PYTHONPATH="", PATH=path) as (server, address):
        seconds = time.monotonic() - began
        taken = [_memory(server.pid)]
        for _ in range(2):
            if not _responds(address):
                raise Failed("starts, but sends no page", f"run it by hand and read its output: {procfile(root)}")
            taken.append(_memory(server.pid))
    found = f"responds after {seconds:.0f} s; {taken[0] / capacity.MB:.0f} MB, and "
    found += f"{(taken[2] - taken[1]) / capacity.MB:.0f} MB more per visitor"
    available = SMALL_HOST_MEMORY // capacity.MB
    if taken[1] + capacity.DECODE_MEMORY * capacity.MB > SMALL_HOST_MEMORY:
        raise Failed(found, f"this and decoding a large photo need more than {available} MB: use a larger machine")
    return f"{found}; {_capacity(root)} visitors at a time with {available} MB"


def _capacity(root):
    """Return the number of visitors that a small dyno can serve at a time."""
    try:
        with closing(ForkServerClient(exports_of([root / "notebooks/icon_classifier.ipynb"]))) as client:
            client.wait()
            return capacity.max_kernels(client.report, SMALL_HOST_MEMORY)
    except ForkError:
        return capacity.max_kernels(None, SMALL_HOST_MEMORY)


def procfile(root):
    """Return the command that a host runs for the project in the folder `root`."""
    return (root / "Procfile").read_text().removeprefix("web: ").strip()


@contextmanager
def served(root, line=None, ready="voila/static/voila.js", log=subprocess.DEVNULL, **environment):
    """Run the Procfile's command in `root` as a host does; yield the process and its address once it responds.

    line: another command to run. It listens at the port in the environment variable PORT.
    ready: a path below the address, to which the server responds when it has started.
    log: the file for its output. environment: further environment variables. Raises `Failed`.
    """
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    line = line or procfile(root)
    address = f"http://127.0.0.1:{port}/"
    server = subprocess.Popen(
        ["sh", "-c", f"exec {line}"],
        cwd=root,
        env={**os.environ, "PORT": str(port), **environment},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + START_TIMEOUT
        while not _responds(address + ready):
            if server.poll() is not None or time.monotonic() > until:
                raise Failed(f"does not respond at port {port}", f"run it by hand and read its output: {line}")
            time.sleep(0.1)
        yield server, address
    finally:
        if server.poll() is None:  # it may have ended already
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired as hang:
                os.killpg(server.pid, signal.SIGABRT)  # with PYTHONFAULTHANDLER=1, it prints where it hangs
                server.wait(30)
                raise Failed("does not end when it is told to", f"run it by hand and read its output: {line}") from hang


def _responds(address):
    try:
        request = urllib.request.Request(address, headers={"Accept": "text/html"})  # without it, no kernel is started
        with urllib.request.urlopen(request, timeout=START_TIMEOUT) as response:
            return bool(response.read())
    except OSError:
        return False


def _memory(pid):
    """Return the bytes of memory that a process and its descendants use."""
    family = psutil.Process(pid).children(recursive=True)
    return capacity.memory_used([pid, *(process.pid for process in family)])
