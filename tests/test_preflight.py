"""Test preflight.py, which `icon-classifier check` runs: each check, and what to do about each failure."""

import re
import shutil

import pytest
from support import ROOT
from support.process import python
from support.server import furnish

from icon_classifier.server import preflight


@pytest.fixture
def project(site, tmp_path):
    shutil.copytree(site / "export", tmp_path / "export")
    (tmp_path / "icon_classifier").symlink_to(ROOT / "icon_classifier")
    return furnish(tmp_path)


def test_checks_pass_in_the_page_environment(project):
    """In the environment of requirements.txt, the slug has at most 130 MB, and visitors fit into 512 MB."""
    run = python("-m", "icon_classifier", "check", str(project), environment=".venv-page")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", what] for what in ("Python", "packages", "export", "slug", "server")
    ]
    assert int(re.search(r"(\d+) MB compressed", lines[3])[1]) <= 130
    assert int(re.search(r"(\d+) visitors at a time with 512 MB", lines[4])[1]) >= 2


@pytest.mark.parametrize(
    ("examine", "spoil", "found", "todo"),
    [
        ("_python", lambda p: (p / "runtime.txt").write_text("python-3.1\n"), "3.", "the host uses 3.1 "),
        (
            "_packages",
            lambda p: (p / "requirements.txt").write_text("voila==0.1\nnope==1\n"),
            "voila 0.5",
            ".venv-page/bin/python",
        ),
        ("_export", lambda p: shutil.rmtree(p / "export"), "not usable", "make train"),
        ("_export", lambda p: (p / "export/export.onnx").write_bytes(b""), "not usable", "icon-classifier compile"),
        ("_export", lambda p: (p / "export/card.json").unlink(), "needs fastai", "icon-classifier compile"),
        ("_server", lambda p: (p / "Procfile").write_text("web: voila --port=x"), "does not respond", "run it by hand"),
    ],
)
def test_failures_say_what_to_do(project, examine, spoil, found, todo):
    spoil(project)
    with pytest.raises(preflight.Failed, match=found) as failure:
        getattr(preflight, examine)(project)
    assert todo in failure.value.todo


def test_too_large_slug_fails(project, monkeypatch):
    monkeypatch.setattr(preflight, "MAX_SLUG_BYTES", 1000)
    monkeypatch.setattr(preflight.sysconfig, "get_path", lambda _: str(project / "notebooks"))
    with pytest.raises(preflight.Failed, match="MB compressed, of at most 0"):
        preflight._slug(project)


def test_failure_is_a_line_and_an_exit_code(project):
    (project / "runtime.txt").write_text("python-2.7\n")
    for name in ("requirements.txt", "Procfile"):
        (project / name).write_text("web: false\n" if name == "Procfile" else "")
    run = python("-m", "icon_classifier", "check", str(project), environment=".venv-page")
    assert run.returncode == 1 and run.stdout.startswith("FAIL  Python")
    assert "what to do: the host uses 2.7" in run.stdout and "Traceback" not in run.stderr
