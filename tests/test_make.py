"""`make train` and `make app`: settings, progress, and errors."""

import importlib.util
import json
import logging
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import websocket
from support import ROOT
from support.process import until
from support.server import furnish, get, kernel_of
from support.standin.photos import icon

from icon_classifier.dataset.checks.photo import Finding
from icon_classifier.dataset.review.findings import read_findings, write_findings
from icon_classifier.notebook_runner import NotebookClient
from icon_classifier.server.preflight import procfile
from icon_classifier.training.gather import gather_from

RUN = ROOT / "notebooks/run.py"
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TYPED_"))}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)
SETTINGS = """source = "sample"  # a comment with x = y
labels = ["a"]
photos = None
others = None
weights = None
epochs = None
size = None
export = "export"
"""


def write_notebook(folder, *cells):
    """Write a notebook with some of train.ipynb's settings and then `cells`: code, or headings of sections."""
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    settings = code(SETTINGS, metadata={"tags": ["parameters"]})
    cells = [text(cell) if cell.startswith("## ") else code(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=[settings, *cells]), folder / "stub.ipynb")
    return ["--notebook", str(folder / "stub.ipynb"), "--output", str(folder / "run/stub.ipynb")]


def make(target, cwd=ROOT, **variables):
    """Run `make TARGET` without a shell; the environments are not rebuilt."""
    typed = [f"{name}={text}" for name, text in variables.items()]
    command = ["make", "-o", ".venv/ready", "-o", ".venv-page/ready", target, *typed]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def run(*args, cwd=ROOT, **options):
    command = [sys.executable, str(RUN), *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, **options)


@pytest.fixture
def runner():
    """notebooks/run.py as a module."""
    spec = importlib.util.spec_from_file_location("run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield module
    logging.disable(logging.NOTSET)  # `main` changes this, and the handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


def started(*args):
    """Start the runner in its own session, as a terminal does, with its output as a pipe."""
    command = [sys.executable, str(RUN), *args]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=ENVIRONMENT, start_new_session=True)


def lines_until(process, text):
    """Return the lines that the process prints, up to the one that contains `text`."""
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"it ended without {text!r}: {lines} {process.stderr.read()}")


LABELS = ["50 Cent", "2Pac", "311", "yes", "no", "null", "1e3", "Ke$ha", "$$", "${HOME}", "$(HOME)", "AC/DC", "a: b"]
LABELS += ["{a: b}", "[x]", "*", "&a", "#1", "it's", 'say "hi"', "back\\slash", "\\n", "100 %", "`ls`", "$(ls)", "!"]
LABELS += [
    "a $( b",
    "$(shell ls)",
    "$(error x)",
    "${",
    "-p",
    "Beyoncé",
    "東京",
    "👩‍🎤",
    "a = b",
    "what?",
    "~",
    "<b>",
    "a;b",
    "a|b",
    "None",
]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ({"LABELS": ", ".join(LABELS)}, {"labels": LABELS, "source": "search"}),
        ({"LABELS": " 311 ,2024 , ", "SOURCE": "search"}, {"labels": ["311", "2024"], "source": "search"}),
        (
            {"PHOTOS": "2024", "WEIGHTS": "18", "OTHERS": 'Ke$ha\'s "best" #1', "EPOCHS": "3"},
            {"photos": "2024", "weights": "18", "others": 'Ke$ha\'s "best" #1', "epochs": 3, "source": "folder"},
        ),
        (
            {"SOURCE": "$(ls).zip", "ARGS": "-p size 128 -p export '12 $x' -p photos 7"},
            {"source": "$(ls).zip", "size": 128, "export": "12 $x", "photos": "7"},
        ),
        (
            {"ARGS": """-p source search -p labels '["Tyler, The Creator", "311"]' -p epochs None"""},
            {"labels": ["Tyler, The Creator", "311"], "epochs": None},
        ),
        ({}, {"source": "sample", "labels": ["a"], "photos": None, "size": None}),
    ],
)
def test_settings_arrive_as_typed(tmp_path, typed, wanted):
    cell = f"import json\njson.dump([globals().get(n) for n in {[*wanted]}], open({str(tmp_path / 'got')!r}, 'w'))"
    args = " ".join(write_notebook(tmp_path, cell))
    made = make("train", **{**typed, "ARGS": f"{args} {typed.get('ARGS', '')}"})
    assert made.returncode == 0, made.stdout + made.stderr
    assert dict(zip(wanted, json.loads((tmp_path / "got").read_text()), strict=True)) == wanted


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"EPOCHS": "0"}, "epochs should be a whole number of at least 1, not '0'."),
        (
            {"LABELS": "a, b", "SOURCE": "sample"},
            "LABELS says what to search for, but SOURCE=sample does not search:",
        ),
        (
            {"LABELS": "a, b", "SOURCE": "my.zip"},
            "LABELS says what to search for, but SOURCE=my.zip does not search:",
        ),
        ({"LABELS": "311"}, "LABELS needs at least two labels, separated by commas, not only ['311']."),
        ({"LABELS": " , "}, "LABELS needs at least two labels"),
        ({"ARGS": "-p sizes 3"}, "There is no setting 'sizes'. The settings: source, labels,"),
        ({"ARGS": "-p size large"}, "size should be a whole number of at least 1, not 'large'."),
        ({"ARGS": "-p export 'my folder"}, "ARGS cannot be read (No closing quotation): -p export 'my folder"),
    ],
)
def test_invalid_setting_is_refused_with_a_reason(runner, monkeypatch, capsys, typed, sentence):
    """In this process; what make passes on is tested above."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [str(RUN)])
    for name, text in typed.items():
        monkeypatch.setenv(f"TYPED_{name}", text)
    assert runner.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"EPOCHS": "abc"}, "epochs should be a whole number of at least 1, not 'abc'."),
        ({"NAME": "a, b"}, "Unknown variable NAME. The variables are SOURCE"),
    ],
)
def test_make_ends_with_the_reason(typed, sentence):
    refused = make("train", **typed)
    assert refused.returncode == 2 and sentence in refused.stderr and "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) <= 2  # the second one is make's


def test_sections_output_and_epochs_are_shown_immediately(tmp_path):
    """The notebook waits until its lines have been seen. fastprogress shows fastai's epochs."""
    wait = f"import time\nfrom pathlib import Path\nwhile not Path({str(tmp_path)!r}, name).exists(): time.sleep(0.02)"
    rows = "[['epoch', 'train_loss'], [0, 0.75], [1, 0.5]]"
    process = started(
        *write_notebook(
            tmp_path,
            "## Gather",
            f"print('three photos')\nname = 'one'\n{wait}",
            "## Train",
            "from fastprogress import master_bar, progress_bar\nbar = master_bar(range(2))\n"
            f"rows = {rows}\nfor i in bar:\n    if i == 0: bar.write(rows[0], table=True)\n"
            "    for _ in progress_bar(range(3), parent=bar): pass\n"
            "    bar.write([str(x) for x in rows[i + 1]], table=True)\n"
            f"    name = 'two'\n    {wait.splitlines()[2]}",
        )
    )
    assert lines_until(process, "three photos")[-2].endswith("] Gather\n")
    (tmp_path / "one").touch()
    assert [line.split() for line in lines_until(process, "0.75")[-2:]] == [["epoch", "train_loss"], ["0", "0.75"]]
    (tmp_path / "two").touch()
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "") and [line.split() for line in out.splitlines()] == [["1", "0.5"]]
    log = (tmp_path / "run/stub.log").read_text()
    assert all(text in log for text in ("] Gather", "three photos", "train_loss", "0.75"))


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("assert source == 'x', f'source is x, not {source!r}'", "AssertionError: source is x, not 'sample'"),
        ("from icon_classifier.model.card import CardError\nraise CardError('The card is old.')", "The card is old."),
        ("{}['star']", "KeyError: 'star'"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "The notebook's kernel was ended from outside"),
    ],
)
def test_failure_ends_with_a_sentence_and_names_the_log(tmp_path, code, last):
    failed = run(*write_notebook(tmp_path, f"import sys\nprint('warned', file=sys.stderr)\n{code}"))
    where, sentence = failed.stderr.splitlines()
    assert failed.returncode == 1 and sentence.startswith(last) and "Traceback" not in failed.stdout
    log, ran = tmp_path / "run/stub.log", tmp_path / "run/stub.ipynb"
    assert str(log) in where and str(ran) in where and ran.exists()
    if "SIGKILL" not in code:
        assert all(text in log.read_text() for text in ("Traceback", "warned"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_all_processes(tmp_path, number):
    code = "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
    code += "print('pids', os.getpid(), child.pid)\ntime.sleep(600)"
    process = started(*write_notebook(tmp_path, code))
    pids = [int(pid) for pid in lines_until(process, "pids")[-1].split()[1:]]
    family = [psutil.Process(pid) for pid in pids]
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.splitlines()[-1] == "Interrupted."
    assert not psutil.wait_procs(family, timeout=60)[1]


def test_reply_during_a_widget_message_is_received(tmp_path, runner, monkeypatch):
    """As happens on a busy machine: the reply arrives before nbclient responds to an Output widget.

    ZeroMQ's file descriptor then tells nothing any more, and papermill's own client waits for ever.
    """
    from nbclient.output_widget import OutputWidget

    send = OutputWidget.send
    monkeypatch.setattr(OutputWidget, "send", lambda *args, **more: (time.sleep(0.1), send(*args, **more)))
    cell = "from ipywidgets import Output\nfor i in range(2):\n    with Output(): display(i)"
    notebook, output = map(Path, write_notebook(tmp_path, cell, cell, "print('through')")[1::2])
    assert runner.run(notebook, output, output.with_suffix(".log"), {}) == 0  # 1 where the watchdog ended it
    assert "through" in output.with_suffix(".log").read_text()


LOST = """session = get_ipython().kernel.session
send = session.send
def swallow(stream, kind, content=None, *args, **more):
    return {"content": content} if kind == "execute_reply" else send(stream, kind, content, *args, **more)
session.send = swallow"""
COMPUTE = """import time
end = time.time() + 12
while time.time() < end: pass"""


@pytest.mark.parametrize(
    ("limits", "code", "sentence"),
    [
        ({"idle_timeout": 2}, LOST, "the kernel has been idle for 2 s, but has sent no reply"),
        ({"quiet_timeout": 2}, "time.sleep(600)", "for 2 s the kernel has neither computed nor sent a message"),
        ({"idle_timeout": 5, "quiet_timeout": 5}, COMPUTE, None),
        ({"quiet_timeout": 5}, f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {COMPUTE!r}])", None),
        ({"quiet_timeout": 5}, "for i in range(8): print(i); time.sleep(1)", None),
    ],
    ids=["lost reply", "asleep", "computes", "its child computes", "speaks"],
)
def test_only_a_stalled_notebook_is_stopped(tmp_path, runner, monkeypatch, capsys, limits, code, sentence):
    for name, seconds in limits.items():
        monkeypatch.setattr(NotebookClient, name, seconds)
    notebook, output = map(Path, write_notebook(tmp_path, f"import time\n{code}")[1::2])
    ended = runner.run(notebook, output, output.with_suffix(".log"), {})
    last = capsys.readouterr().err.splitlines()[-1:]
    assert (ended, last) == ((1, [f"The notebook stalled: {sentence}. Run it again."]) if sentence else (0, []))


def test_make_train_runs_the_lesson(tmp_path):
    """Run train.ipynb on few drawings, with a folder of other things."""
    from icon_classifier.training.sample import write_icons

    write_icons(tmp_path / "others", ("key", "lock"), per_label=7)
    args = ["-p", "others", "others", "-p", "per_label", "20", "-p", "size", "32", "-p", "epochs", "2"]
    trained = run("--notebook", str(ROOT / "notebooks/train.ipynb"), *args, cwd=tmp_path)
    assert (trained.returncode, trained.stderr) == (0, ""), trained.stdout + trained.stderr
    steps = ("] Gather", "] Train", "epoch ", "\n0 ", "\n1 ", "] Clean again", "] Export", "Wrong on ")
    places = [trained.stdout.find(step) for step in steps]
    assert -1 not in places and places == sorted(places)
    assert "of 14 pictures of something else" in trained.stdout
    assert (tmp_path / "export/export.onnx").exists()


def test_others_without_images_are_refused_before_training(tmp_path):
    refused = run("--notebook", str(ROOT / "notebooks/train.ipynb"), "-p", "others", "nowhere", cwd=tmp_path)
    assert refused.returncode == 1
    last = "There are no images in nowhere. Set `others` to a folder of images of other things."
    assert refused.stderr.splitlines()[-1] == last
    assert not (tmp_path / "photos").exists()


@pytest.fixture
def project(tmp_path):
    """A project whose training only writes a file and prints its TITLE."""
    (tmp_path / "export").mkdir()
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    for path in (".venv", "icon_classifier"):
        (tmp_path / path).symlink_to(ROOT / path)
    train = "import os; open('export/export.pkl', 'w').write('sample'); print(os.environ.get('TYPED_TITLE'))"
    (tmp_path / "notebooks/run.py").write_text(train)
    (tmp_path / "requirements-all.txt").touch()  # older than the environment, so that a make started by make is content
    os.utime(tmp_path / "requirements-all.txt", (0, 0))
    return tmp_path


@pytest.mark.parametrize("target", ["app", "site", "bench"])
def test_make_does_not_train_over_a_model(project, target):
    """A model that has not been compiled is a model, too."""
    (project / "export/export.pkl").write_text("mine")
    ended = make(target, project, PORT=str(free_port()))
    assert ended.returncode and (project / "export/export.pkl").read_text() == "mine"
    if target == "site":
        assert "run: icon-classifier compile export/export.pkl" in ended.stderr and "Traceback" not in ended.stderr


def test_make_trains_where_there_is_no_model(project):
    title = 'Who "is" $(this)?'
    ended = make("site", project, PORT=str(free_port()), TITLE=title)
    assert (project / "export/export.pkl").read_text() == "sample" and title in ended.stdout


def test_make_notebooks_does_not_train_over_a_model(project):
    """It runs a lesson here that changes to the project's top folder, as train.ipynb does, and writes an export."""
    (project / "export/export.pkl").write_text("mine")
    (project / "bin").mkdir()
    (project / "bin/jupyter").symlink_to(ROOT / ".venv/bin/jupyter")
    for tool in ("nbdev-export", "nbdev-test", "nbdev-clean", "python"):  # what they do is tested elsewhere
        (project / "bin" / tool).symlink_to(shutil.which("true"))
    train = "import os\nif os.path.basename(os.getcwd()) == 'notebooks': os.chdir('..')\n"
    train += "os.makedirs('export', exist_ok=True)\nopen('export/export.pkl', 'w').write('sample')"
    write_notebook(project, train)
    (project / "stub.ipynb").rename(project / "notebooks/train.ipynb")
    ended = make("notebooks", project, BIN="bin")
    assert ended.returncode == 0, ended.stderr
    assert (project / "export/export.pkl").read_text() == "mine"
    cells = nbformat.read(project / "notebooks/train.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].data["text/plain"] == "6"


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_port_in_use_is_reported(taken, tmp_path):
    """`make app` reports it before training, and the Procfile's command before starting."""
    refused = make("app", PORT=str(taken))
    furnish(tmp_path)
    path = os.pathsep.join([str(ROOT / ".venv-page/bin"), os.environ["PATH"]])
    line = subprocess.run(
        ["sh", "-c", f"exec {procfile(tmp_path)}"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": path, "PORT": str(taken)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    for ended in (refused, line):
        assert ended.returncode and "Traceback" not in ended.stderr
        assert f"Port {taken} is not available (address already in use). Use another one: make app PORT" in ended.stderr


@pytest.mark.parametrize("port", ["abc", "65536"])
def test_invalid_port_is_reported(port):
    refused = make("app", PORT=port)
    assert refused.returncode and f"The port should be a number between 1 and 65535, not {port!r}." in refused.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_that_only_the_token_opens(address):
    """Not another user of this computer, nor a web page: under its own host name (DNS rebinding), or cross-site."""
    root, token = address.split("?token=")
    status, headers, html = get(address)
    assert status == 200 and "Review the photos" in html
    cookie = headers["Set-Cookie"].split(";")[0]
    kernel = kernel_of(html)
    for refused in ({}, {"Host": "evil.example"}, {"Cookie": cookie.replace("=", "=x")}):
        status, _, text = get(root, **refused)
        assert status == 403 and "Open that address, with its token." in text and token not in text
        assert get(f"{root}api/kernels/{kernel}", **refused)[0] == 403
        assert get(f"{root}voila/api/shutdown/{kernel}", "POST", b"", Origin=root[:-1], **refused)[0] == 403
    assert get(f"{root}voila/api/shutdown/{kernel}", "POST", b"", Origin="http://evil.example", Cookie=cookie)[0] == 403
    channels = f"{root.replace('http', 'ws')}api/kernels/{kernel}/channels"
    cross = dict(cookie=cookie, origin="http://evil.example")
    rebound = dict(host="evil.example", origin="http://evil.example")  # a browser keeps the cookie for localhost
    for refused in ({}, dict(origin=root[:-1]), cross, rebound):
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(channels, **refused)
    websocket.create_connection(channels, cookie=cookie, origin=root[:-1]).close()


def test_make_review_serves_a_folder_on_this_computer_only(tmp_path):
    """The folder stays as it is: it is gathered into a dataset, whose photos are checked and shown."""
    for name in ("heart", "star"):
        (tmp_path / f"mine/{name}").mkdir(parents=True)
        for i in range(3):
            (tmp_path / f"mine/{name}/{i}.jpg").write_bytes(icon(name, i))
    before = sorted((tmp_path / "mine").rglob("*"))
    shutil.copy(ROOT / "voila.json", tmp_path)
    port = free_port()
    environment = {**ENVIRONMENT, "PORT": str(port), "TYPED_PHOTOS": "mine"}
    command = [sys.executable, str(ROOT / "notebooks/review.py")]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment, cwd=tmp_path) as server:
        try:
            lines = lines_until(server, "The review: ")
            assert "6 photos, 0 findings\n" in lines

            def listening():
                links = psutil.Process(server.pid).net_connections()
                return {link.laddr.ip for link in links if link.status == "LISTEN" and link.laddr.port == port}

            assert until(listening, 60) and listening() <= {"127.0.0.1", "::1"}
            check_that_only_the_token_opens(re.search(r"http\S+", lines[-1])[0])
        finally:
            server.terminate()
    assert sorted((tmp_path / "mine").rglob("*")) == before
    assert (tmp_path / "photos/mine/.findings.jsonl").exists()


def test_make_review_keeps_what_training_found(tmp_path):
    """What the checks on features found stays, for photos that are there; the other checks run again."""
    photos = tmp_path / "dataset"
    for i in range(4):
        (tmp_path / f"mine/{i % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"mine/{i % 2}/{i}.jpg").write_bytes(icon("heart", i))
    gather_from(tmp_path / "mine", photos)
    file = next(photos.glob("0/*.jpg")).relative_to(photos).as_posix()
    earlier = [
        Finding(*each, "0", 0.5, "It is far.")
        for each in (("outliers", file), ("outliers", "0/gone.jpg"), ("duplicates", file))
    ]
    write_findings(photos, earlier)
    runpy.run_path(str(ROOT / "notebooks/review.py"))["prepare"](photos)
    assert [(found.check, found.file) for found in read_findings(photos)] == [("outliers", file)]


@pytest.mark.parametrize(
    "photos, why", [("", "Name a folder that contains a folder per label"), ("gone", "There is no folder gone")]
)
def test_make_review_says_what_is_missing(photos, why):
    refused = make("review", PHOTOS=photos, PORT=str(free_port()))
    assert refused.returncode and why in refused.stderr and "Traceback" not in refused.stderr
