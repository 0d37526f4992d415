"""Shared fixtures: an export that train.ipynb made from the sample once, and its page, served to a browser."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import pytest

from icon_classifier.server.preflight import Failed, procfile, served

ROOT = Path(__file__).parent.parent
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread per process: more of them than processors are slower than one
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A background job ignores Ctrl-C, and so would every program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_notebook(folder, **parameters):
    """Execute train.ipynb in `folder` as `make train` does; return the executed notebook."""
    from icon_classifier.notebook_runner import Screen, execute

    output = folder / "train.ipynb"
    with open(folder / "train.log", "w") as log:
        execute(ROOT / "notebooks/train.ipynb", output, parameters, Screen(log), cwd=folder)
    return output


@pytest.fixture
def execute_here(tmp_path, monkeypatch):
    """Return a function that executes train.ipynb in `tmp_path` and in this process, and returns its variables.

    A kernel would import fastai first, which takes longer than most tests. Widgets are made, but not shown.
    """
    import builtins

    import nbformat
    from IPython.display import display
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "fastbook", None)  # its set-up changes this process

    def execute_here(edit=lambda sources: sources, **parameters):
        """`edit` gets the sources of the code cells and returns those to execute."""
        cells = nbformat.read(ROOT / "notebooks/train.ipynb", as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code" and "%pip" not in cell.source]
        assert "parameters" in code[0].metadata.tags
        variables = {"__name__": "__main__"}
        exec(code[0].source, variables)
        variables |= parameters
        for source in edit([cell.source for cell in code[1:]]):
            exec(source, variables)
        return variables

    yield execute_here
    pyplot.close("all")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Return a folder as on a host: the files of the page, and an export that train.ipynb made from the sample.

    It is trained once, and each process of pytest-xdist gets a copy.
    """
    base = tmp_path_factory.getbasetemp()
    trained = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    trained.mkdir(exist_ok=True)
    with open(trained / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (trained / "export/card.json").exists():
            run_notebook(trained)
    return furnish(shutil.copytree(trained, tmp_path_factory.mktemp("site"), dirs_exist_ok=True))


@cache
def surest(site, label):
    """Return the path of the validation drawing of `label` with the highest probability.

    Each training finds another network, and each network errs on other drawings.
    """
    from icon_classifier.model.classifier import load_classifier

    files = sorted((site / "photos/sample/valid" / label).iterdir())
    predictions = load_classifier(site / "export/export.pkl").predict_many(files)
    right = [
        (p.probability, file)
        for p, file in zip(predictions, files, strict=True)
        if p.label == label and p.is_ood is False
    ]
    assert right, f"the model knows none of the {len(files)} drawings of {label}"
    return max(right)[1]


@pytest.fixture
def drawing(site):
    """Return a function from a label to the path of a drawing that the model classifies with certainty."""
    return partial(surest, site)


@pytest.fixture(scope="session")
def browser():
    import visits
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**visits.CHROMIUM)
        yield browser
        browser.close()


def furnish(folder):
    """Copy the files that a host needs to serve the page into `folder`."""
    (folder / "notebooks").mkdir(exist_ok=True)
    for name in ("Procfile", "voila.json", "requirements.txt", "runtime.txt", "notebooks/icon_classifier.ipynb"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def serve(folder, environment, line=None, ready="voila/static/voila.js", more="", **variables):
    """Run the Procfile's command in `folder` as Heroku does, with PYTHONPATH the code's root; yield the address.

    `line` and `ready` (an address below the server's that answers once it is up) serve something else than the page;
    `more` are arguments for the end of the line, `variables` more of the environment.
    """
    path = f"{ROOT / environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), **variables}
    with open(folder / f"{environment}.log", "w+") as log:
        try:
            line = f"{line or procfile(folder)} {more}"
            with served(folder, line, ready, log, **variables) as (_, address):
                yield address
        except Failed as failure:
            log.seek(0)
            pytest.fail(f"{failure}:\n{log.read()}")


def python(*args, environment=None, **options):
    """Run the Python of this or the named environment, with the project's root on its path."""
    interpreter = ROOT / environment / "bin/python" if environment else sys.executable
    env = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run([str(interpreter), *args], capture_output=True, text=True, env=env, **options)
