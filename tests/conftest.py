"""Define shared fixtures: an export that train.ipynb makes from the sample once, and a browser."""

import fcntl
import os
import shutil
import signal
import sys
from functools import partial

import pytest
from support import ROOT
from support.drawings import surest
from support.notebook import run_notebook
from support.server import furnish

if "PYTEST_XDIST_WORKER" in os.environ:  # more threads than processors would be slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A background job ignores Ctrl-C, and so would every program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def drawing(site):
    """Return a function from a label to the path of a drawing that the model classifies with certainty."""
    return partial(surest, site)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright
    from support.page import CHROMIUM

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**CHROMIUM)
        yield browser
        browser.close()
