"""Test the notebooks: the chapters run, the modules match them, the cells are short, and the outputs are clean."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support import ROOT

BIN = Path(sys.executable).parent
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
MAX_LINES = 25  # of a cell, without directives of nbdev and without imports
MAX_LINE_LENGTH = 120


def nbdev(command, *args, cwd=ROOT):
    return subprocess.run([BIN / f"nbdev-{command}", *args], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for name in ("notebooks", "icon_classifier"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def differences(copy):
    """Run the export and the cleaning in `copy`; return the files that this changes."""
    before = {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()}
    for args in (["export"], ["clean", "--fname", "notebooks"]):
        run = nbdev(*args, cwd=copy)
        assert run.returncode == 0, run.stderr
    after = {
        path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(str(p.relative_to(copy)) for p in before.keys() | after.keys() if before.get(p) != after.get(p))


def test_modules_are_in_step_and_notebooks_clean(copy):
    assert differences(copy) == [], "run: .venv/bin/nbdev-export; .venv/bin/nbdev-clean --fname notebooks"


def test_stale_module_is_detected(copy):
    module, notebook = copy / "icon_classifier/training/clean.py", copy / "notebooks/train.ipynb"
    module.write_text(module.read_text() + "\nedited = True\n")
    notebook.write_text(notebook.read_text().replace('"execution_count": null', '"execution_count": 7', 1))
    assert differences(copy) == ["icon_classifier/training/clean.py", "notebooks/train.ipynb"]


def test_chapters_run():
    run = nbdev("test", "--n-workers", "1", "notebooks/library")
    assert run.returncode == 0 and "Success" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_tidy(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
            assert "/site-packages/" not in str(output) and str(Path.home()) not in str(output), cell.source
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            lines = [line for line in cell.source.splitlines() if not line.startswith("#|")]
            assert max(map(len, lines), default=0) <= MAX_LINE_LENGTH, cell.source
            imports = [n for n in ast.parse(code_of(cell)).body if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert len(lines) - sum(n.end_lineno - n.lineno + 1 for n in imports) <= MAX_LINES, cell.source


def code_of(cell):
    """Return the Python of a cell, with its magics replaced."""
    return re.sub(r"^( *)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)


def test_lint():
    for args in (["check", "."], ["format", "--check", "."]):
        run = subprocess.run([BIN / "ruff", *args], cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
