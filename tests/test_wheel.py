"""Test the package as pip installs it, away from the checkout."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from support import ROOT
from support.process import PROGRAMS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel from a copy of the files in git; return its path."""
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


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Return a new environment into which the wheel is installed; the dependencies are those of the page's environment.

    Nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([ROOT / ".venv-page/bin/python", "-m", "venv", "--without-pip", folder], check=True)
    (dependencies,) = (ROOT / ".venv-page/lib").glob("python*/site-packages")
    (installed,) = folder.glob("lib/python*/site-packages")
    (installed / "dependencies.pth").write_text(f"{dependencies}\n")
    install = ["pip", "install", "--quiet", "--offline", "--no-deps", "--python", folder / "bin/python", wheel]
    subprocess.run([ROOT / ".venv/bin/uv", *install], check=True)
    return folder


def run(command, folder):
    """Run a command in `folder`, without the checkout on its path."""
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=without, capture_output=True, text=True)


def test_installed_package_has_its_data_and_dependencies(environment, tmp_path):
    ran = run([environment / "bin/python", PROGRAMS / "installed.py"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    where, about, dependencies = ran.stdout.splitlines()
    assert where.startswith(str(environment)) and "There is no model" in about
    number, *missing = dependencies.split()
    assert int(number) > 5 and missing == []


def test_installed_package_has_its_command(environment, tmp_path):
    ran = run([environment / "bin/icon-classifier", "card"], tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "") and "there is no export/card.json" in ran.stderr
    assert run([environment / "bin/icon-classifier", "--help"], tmp_path).returncode == 0
