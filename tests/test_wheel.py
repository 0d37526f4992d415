"""The package as pip installs it, away from the checkout."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The path of a wheel that is built from a copy of the files in git."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for path in filter(None, tracked.split("\0")):
        if (ROOT / path).is_file():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes((ROOT / path).read_bytes())
    build = [ROOT / ".venv/bin/pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, source]
    subprocess.run(build, check=True)
    return next(target.glob("*.whl"))


def test_wheel_contains_the_whole_package(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "icon_classifier").rglob("*") if path.is_file()}
    assert {path for path in package if "__pycache__" not in path} == {
        path for path in files if path.startswith("icon_classifier/")
    }
    licences = {Path(path).name for path in files if "/licenses/" in path}
    assert licences == {"LICENSE", "NOTICE"}


def test_installed_package_has_its_command_and_data(wheel, tmp_path):
    """The page's environment has the dependencies; the package itself comes from the wheel only."""
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = """
import icon_classifier
from icon_classifier.page.page import IconPage
print(icon_classifier.__file__)
print(IconPage("nowhere.pkl").about.value)
"""
    python = ROOT / ".venv-page/bin/python"
    options = dict(cwd=tmp_path, env=environment, capture_output=True, text=True)
    shown = subprocess.run([python, "-c", code], **options)
    assert shown.stdout.startswith(str(installed)) and "There is no model" in shown.stdout, shown.stderr
    run = subprocess.run([python, "-m", "icon_classifier", "card"], **options)
    assert (run.returncode, run.stdout) == (2, "") and "there is no export/card.json" in run.stderr
