"""Test the imports: they point one way, the page needs neither fastai nor torch, and dependencies are declared."""

import ast
import builtins
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import ROOT
from support.process import PROGRAMS, python

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
    run = python(PROGRAMS / "public_names.py", environment=".venv-page")
    names = "Card Classifier IconClassifierError Prediction load_classifier"
    assert run.stdout.splitlines() == ["", names, "True"], run.stderr


def test_page_and_server_load_without_fastai_and_training():
    modules = [f"icon_classifier.server.{name}" for name in ("kernel_manager", "fork_server", "identity", "websocket")]
    loaded = python(PROGRAMS / "print_modules.py", *modules, "icon_classifier.page.page").stdout.split()
    assert "icon_classifier.page.page" in loaded
    assert not {"fastai", "torch", "icon_classifier.training"} & set(loaded)


# Files that need extras; the base dependencies suffice for all others, except for the optional imports of OPTIONAL.
NEED_EXTRAS = ("training/", "dataset/", "notebook_runner.py", "model/learner.py", "model/network.py")
OPTIONAL = {"model/classifier.py": {"fastai", "torch"}, "images.py": {"pillow-heif"}}
PARTS_OF_FASTAI = {"fastcore", "fasttransform"}  # fastai is built on them, and re-exports them


def test_imported_packages_are_declared():
    """Each imported distribution is a dependency in pyproject.toml, or in an extra where that is needed anyway."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    lines = [line for extra in project["optional-dependencies"].values() for line in extra]
    everything = base | {canonicalize_name(Requirement(line).name) for line in lines} | PARTS_OF_FASTAI
    distributions = packages_distributions()
    missing = {}
    for path in PACKAGE.rglob("*.py"):
        file = path.relative_to(PACKAGE).as_posix()
        declared = everything if file.startswith(NEED_EXTRAS) else base | OPTIONAL.get(file, set())
        modules = {name.partition(".")[0] for name in imports_of(path)} - {"icon_classifier", *sys.stdlib_module_names}
        for module in modules:
            names = set(map(canonicalize_name, distributions.get(module, [module])))
            if not names & declared:
                missing.setdefault(min(names), []).append(file)
    assert missing == {}
