"""Imports point one way, and the page needs neither fastai nor torch."""

import ast
import builtins
from pathlib import Path

from support import ROOT
from support.process import python

PACKAGE = ROOT / "icon_classifier"
# What each part may import of the others; as in CONTRIBUTING.md.
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "images": {"errors"},
    "shell_channel": set(),
    "notebook_runner": {"shell_channel", "errors"},
    "model": {"images", "files", "errors"},
    "dataset": {"images", "files", "errors"},
    "page": {"model", "images", "errors"},
    "site": {"page", "model", "files", "errors"},
    "server": {"page", "model", "images", "shell_channel", "errors"},
    "training": {"dataset", "model", "images", "files", "errors"},
}


def imports_of(path):
    """Yield the full names of a module's imports."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: -node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def arrows():
    """Return the set of imports (from, to) between parts. A part is a subpackage, or a module at the top."""
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        start = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for name in imports_of(path):
            end = name.removeprefix("icon_classifier.").partition(".")[0]
            if name.startswith("icon_classifier.") and end in parts - {start}:
                found.add((start, end))
    return found


def test_imports_point_one_way():
    found = {arrow for arrow in arrows() if arrow[0] not in ("__main__", "__init__", "_modidx")}
    allowed = {(start, end) for start, ends in MAY_IMPORT.items() for end in ends}
    assert found - allowed == set()
    assert {("server", "page"), ("page", "model"), ("model", "images"), ("training", "dataset")} <= found


def test_only_training_imports_fastai_and_torch():
    """Also model/network.py and model/learner.py, which are imported only to read an export.pkl."""
    heavy = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {
            name.partition(".")[0]
            for node in top
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        if names & {"torch", "fastai"}:
            heavy.add(path.relative_to(PACKAGE).as_posix())
    assert {Path(path).parts[0] for path in heavy} == {"training", "model"}
    assert {path for path in heavy if path.startswith("model/")} <= {"model/network.py", "model/learner.py"}


def test_exceptions_have_one_base_class():
    """Each exception class of the package and of notebooks/run.py derives from IconClassifierError."""
    classes = {}
    for path in [*PACKAGE.rglob("*.py"), ROOT / "notebooks/run.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]

    def derives(name, is_wanted):
        return is_wanted(name) or any(derives(base, is_wanted) for base in classes.get(name, ()) if base != name)

    def is_builtin_exception(name):
        found = getattr(builtins, name, None)
        return isinstance(found, type) and issubclass(found, BaseException)

    exceptions = {name for name in classes if derives(name, is_builtin_exception)}
    assert {"ImageError", "FetchError", "DiskError", "CompileError", "Failed", "SettingsError"} <= exceptions
    assert {name for name in exceptions if not derives(name, "IconClassifierError".__eq__)} == set()


def test_public_names_load_without_fastai_and_torch():
    """`import icon_classifier` loads none of its modules, because every process runs it."""
    code = """
import sys, icon_classifier
print(*[name for name in sys.modules if name.startswith("icon_classifier.")])
from icon_classifier import *
from icon_classifier.images import ImageError
from icon_classifier.model.card import CardError
from icon_classifier.model.classifier import ExportError
print(*sorted(icon_classifier.__all__), *sorted({"fastai", "torch", "onnxruntime"} & set(sys.modules)))
print(all(issubclass(error, IconClassifierError) for error in (ImageError, CardError, ExportError)))
"""
    run = python("-c", code, environment=".venv-page")
    names = "Card Classifier IconClassifierError Prediction load_classifier"
    assert run.stdout.splitlines() == ["", names, "True"], run.stderr


def test_page_loads_without_fastai_and_torch():
    code = "import sys, icon_classifier.server.kernel_manager, icon_classifier.page.page; print(*sorted(sys.modules))"
    loaded = python("-c", code).stdout.split()
    assert "icon_classifier.page.page" in loaded
    assert not {"fastai", "torch", "icon_classifier.training"} & set(loaded)
