"""Test forked kernels and the limit of their number, with real processes and kernels, but without a browser."""

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from support import ROOT
from support.process import PROGRAMS, python

from icon_classifier.server import capacity
from icon_classifier.server.fork_pool import exports_of
from icon_classifier.server.provisioner import kernel_arguments

MB = capacity.MB


def visit(folder, *lines, environment=".venv-page", env=None):
    """Return what start_kernel.py reports about a kernel in `folder` (a dict), and the log."""
    ran = python(PROGRAMS / "start_kernel.py", str(folder), *lines, environment=environment, env=env or {})
    assert "shown: " in ran.stdout, ran.stderr
    return json.loads(ran.stdout.split("shown: ")[1]), ran.stderr


@pytest.fixture(scope="module")
def folder(site, tmp_path_factory):
    """Return a copy of the site's notebook and export, which a test may change."""
    folder = tmp_path_factory.mktemp("kernels")
    shutil.copytree(site / "export", folder / "export")
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/icon_classifier.ipynb", folder / "notebooks")
    return folder


PAGE = "from icon_classifier.page.page import IconPage; page = IconPage('../export/export.pkl')"
SHARED = "from icon_classifier.page import preload; print(page.classifier in preload._classifiers.values())"
PREDICTS = """import io; from PIL import Image; file = io.BytesIO(); Image.new("RGB", (90, 80), "red").save(file, "PNG")
print(sum(page.classifier.predict(file.getvalue()).probabilities.values()))"""
COMM = "print(sorted(get_ipython().kernel.comm_manager.targets))"
PARENT = "import os, sys; print(os.getppid(), os.getcwd())"
QUIET = "print(os.environ['ORT_DISABLE_TELEMETRY'], 'debugpy' in str(sys.modules.get('debugpy')))"


@pytest.mark.parametrize("environment", [".venv", ".venv-page"])
def test_forked_kernel_shares_the_classifier(folder, environment):
    shown, log = visit(folder / "notebooks", PAGE, SHARED, PREDICTS, COMM, PARENT, QUIET, environment=environment)
    assert shown["forked"], log
    assert shown["then"] == shown["capacity"], "visitors add no capacity"
    said, shared, total, targets, parent, quiet = shown["lines"]
    assert (said, shared, quiet) == ("", "True", "1 False")
    assert float(total) == pytest.approx(1, abs=1e-3)
    assert "'jupyter.widget'" in targets, "the page's widgets would not respond"
    assert parent == f"{shown['fork_server']} {folder / 'notebooks'}"
    assert not psutil.pid_exists(shown["fork_server"])


def test_fastai_is_preloaded_if_there_is_only_a_pickle(folder, tmp_path):
    (tmp_path / "export").mkdir()
    shutil.copy(folder / "export/export.pkl", tmp_path / "export")
    shutil.copytree(folder / "notebooks", tmp_path / "notebooks")
    heavy, log = visit(tmp_path / "notebooks", PAGE, SHARED, PREDICTS, environment=".venv")
    assert heavy["forked"], log
    assert heavy["lines"][:2] == ["", "True"] and float(heavy["lines"][2]) == pytest.approx(1, abs=1e-3)
    light, _ = visit(folder / "notebooks", environment=".venv")
    assert heavy["capacity"] < light["capacity"] or light["capacity"] == 1


def test_changed_export_is_loaded_again(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "site")
    changed = f"import os; os.utime({str(tmp_path / 'site/export/export.pkl')!r})"
    shown, _ = visit(tmp_path / "site/notebooks", changed, PAGE, SHARED, PREDICTS)
    assert shown["forked"] and shown["lines"][2] == "False" and float(shown["lines"][3]) == pytest.approx(1, abs=1e-3)


def test_export_that_fails_to_load_is_logged_once(folder, tmp_path):
    shutil.copytree(folder / "notebooks", tmp_path / "notebooks")
    shown, log = visit(tmp_path / "notebooks", PAGE, "print(page.about.value)")
    assert shown["forked"] and "To make one, run" in shown["lines"][1]
    logged = [line for line in log.splitlines() if "could not load an export" in line]
    assert len(logged) == 1 and "To make one, run" in logged[0], log
    assert "could not load an export" not in visit(folder / "notebooks")[1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()", "2 threads"),
        ("import sys; sys.modules['ipykernel.ipkernel'] = None; sys.modules['PIL'] = None", "PIL"),
        ("import os; del os.pidfd_open", "has no pidfds"),
    ],
)
def test_without_forking_kernels_are_plain_processes(folder, tmp_path, code, reason):
    """The fork server has a thread, an import fails there, or the system has no pidfds, as macOS and Windows."""
    only_fork_server = (
        "import sys\nif 'PIL' not in sys.modules and any('fork_server' in a for a in sys.orig_argv):\n    "
    )
    everywhere = "pidfd" in code
    (tmp_path / "sitecustomize.py").write_text(code if everywhere else only_fork_server + code)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    shown, log = visit(folder / "notebooks", PAGE, PREDICTS, env=env)
    assert not shown["forked"] and float(shown["lines"][1]) == pytest.approx(1, abs=1e-3)
    assert [reason in line for line in log.splitlines() if "start more slowly" in line] == [True], log


def test_process_limit_gives_status_503(folder, tmp_path):
    """The other visitors keep their kernels."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nif 'fork_server' in str(sys.orig_argv): import fork_once")
    env = {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, PROGRAMS, ROOT)))}
    ran = python(PROGRAMS / "start_two_kernels.py", str(folder / "notebooks"), environment=".venv-page", env=env)
    assert ran.stdout.split() == ["503", "1", "True", "True"], ran.stderr


def test_exports_named_in_notebooks_are_found(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ['IconPage("no.pkl")']},
        {"cell_type": "code", "source": ["a = IconPage('../one/export.pkl')\n", 'b = IconPage( "two.pkl" )\n']},
        {"cell_type": "code", "source": ["c = IconPage(path)"]},
    ]
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "broken.ipynb").write_text("{")
    found = exports_of([tmp_path / "page.ipynb", tmp_path / "broken.ipynb", tmp_path / "missing.ipynb"])
    assert found == [str(tmp_path / "../one/export.pkl"), str(tmp_path / "two.pkl")]
    assert exports_of([ROOT / "notebooks/icon_classifier.ipynb"]) == [str(ROOT / "notebooks/../export/export.pkl")]


def test_only_the_ipykernel_of_this_python_is_forked():
    assert kernel_arguments([sys.executable, "-m", "ipykernel_launcher", "-f", "x.json"]) == ["-f", "x.json"]
    assert kernel_arguments(["/elsewhere/bin/python", "-m", "ipykernel_launcher", "-f", "x.json"]) is None
    assert kernel_arguments([sys.executable, "-m", "another_kernel", "-f", "x.json"]) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2048),
        ({"cgroup": "0::/\n", "memory.max": "536870912\n"}, 512),  # as seen in a container, version 2
        (
            {"cgroup": "0::/app/web.1\n", "memory.max": "max\n", "app/memory.max": "268435456\n"},
            256,
        ),  # a parent group
        ({"cgroup": "0::/\n", "memory.max": "max\n"}, 2048),
        ({"cgroup": "7:cpu:/x\n4:memory:/lxc/dyno\n", "memory/memory.limit_in_bytes": "536870912\n"}, 512),  # version 1
        ({"cgroup": "4:memory:/\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2048),  # no limit
    ],
)
def test_memory_limit_of_machine_or_control_group(tmp_path, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        2097152 kB\nMemFree:         1 kB\n")
    for name, text in files.items():
        path = tmp_path / ("proc/self/cgroup" if name == "cgroup" else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert capacity.memory_limit(tmp_path) == expected * MB


def test_memory_limit_is_at_most_the_machines_memory():
    assert 64 * MB < capacity.memory_limit() <= psutil.virtual_memory().total


@pytest.mark.parametrize(("soft", "hard", "most"), [(300, 300, 10), (300, 2100, 100)])
def test_open_files_limit_the_kernels(soft, hard, most):
    run = python(PROGRAMS / "max_kernels.py", str(soft), str(hard))
    assert run.stdout.split() == [str(most), "1", str(hard), str(hard)]


def test_one_image_is_decoded_at_a_time(tmp_path):
    """Without the lock, both processes would write their beginning before one writes its end."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: python(PROGRAMS / "hold_decode_lock.py", str(tmp_path / "log")), range(3)))
    assert (tmp_path / "log").read_text() == "begin end " * 3


@pytest.mark.parametrize(("visitors", "expected"), [("3", 3), ("0", None), ("many", None)])
def test_icon_visitors_sets_the_capacity(folder, visitors, expected):
    ran = python(PROGRAMS / "print_capacity.py", env={"ICON_VISITORS": visitors}, cwd=folder / "notebooks")
    assert int(ran.stdout) == expected if expected else int(ran.stdout) >= 1, ran.stderr
