"""Test icon-classifier train: checkpoints, several processes, and inputs that it cannot train on."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from support import ROOT
from support.standin.photos import icon

from icon_classifier.__main__ import main
from icon_classifier.model.card import Card, sha256_of
from icon_classifier.training.failures import ExportFolderError, check_export
from icon_classifier.training.gather import PhotosError
from icon_classifier.training.train import DRAWINGS, PHOTOGRAPHS, _dataloaders, _fit

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
SMALL = "--size", "32", "--batch-size", "8"


def draw(folder, **labels):
    """Write a folder per label, with the number of different drawings that `labels` gives."""
    for n, (label, number) in enumerate(labels.items()):
        (folder / label).mkdir(parents=True)
        for i in range(number):
            (folder / label / f"{i}.jpg").write_bytes(icon(("heart", "star")[n % 2], 1000 * n + i))
    return folder


def train(*args, launcher=(), **options):
    """Start icon-classifier train in a process, or in those that `launcher` starts."""
    command = [*(launcher or [sys.executable]), "-m", "icon_classifier", "train", *map(str, args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options
    )


def finish(process):
    """Wait for a training, assert that it succeeded, and return what it printed."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    return out


def epochs(text):
    """Return the lines of the epochs, without their times."""
    return [line.rpartition(", time")[0] for line in text.splitlines() if re.match(r"(frozen )?epoch", line)]


def test_killed_run_resumes_with_the_same_figures(tmp_path):
    """Send SIGKILL after epoch 2 of 4. Its checkpoint may not be written yet, or already the next one."""
    args = "sample", "--epochs", 4, "--per-label", 20, *SMALL
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    uninterrupted = train(*args, cwd=tmp_path / "whole")  # concurrently; both use one thread
    process = train(*args, cwd=tmp_path / "killed")
    with process:
        for line in process.stdout:
            if line.startswith("epoch 2 of 4"):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "killed/export/export.pkl").exists()
    whole = finish(uninterrupted)
    resumed = finish(train(*args, cwd=tmp_path / "killed"))
    assert re.search("Resumed after epoch [1-3] of 4", resumed)
    assert epochs(resumed) == epochs(whole) and len(epochs(whole)) == 4
    cards = [Card.read(tmp_path / name / "export/card.json") for name in ("whole", "killed")]
    assert cards[0].figures == cards[1].figures and cards[0].training["split"] == cards[1].training["split"]
    assert sorted(os.listdir(tmp_path / "killed/export")) == sorted(os.listdir(tmp_path / "whole/export"))


def test_two_processes_train_one_model(tmp_path):
    """It learns, and its figures are of all photos. On a CPU, accelerate launch needs --multi_gpu for several."""
    launcher = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", 2]
    launcher += ["--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", 0]
    args = "sample", "--epochs", 8, "--per-label", 60, "--size", 32
    out = finish(train(*args, cwd=tmp_path, launcher=list(map(str, launcher))))
    assert [line.split(":")[0] for line in epochs(out)] == [f"epoch {i} of 8" for i in range(1, 9)]
    card = Card.read(tmp_path / "export/card.json")
    assert card.training["processes"] == 2 and card.figures["photos"] == {"train": 180, "valid": 72}
    assert card.figures["error"]["photos"] == 72 and card.figures["error"]["interval"][1] < 2 / 3  # that of guessing
    files = ["card.json", "confusion_matrix.png", "export.onnx", "export.pkl", "model_card.md"]
    assert sorted(os.listdir(tmp_path / "export")) == files


def test_card_records_the_training(tmp_path, monkeypatch, capsys):
    """Train on a folder from scratch. Empty folders are reported."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "mine", heart=10, star=10)
    (tmp_path / "mine/owl").mkdir()
    assert main(["train", "mine", "--no-pretrained", "--epochs", "1", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "1 empty folder" in out and "20 files, 0 excluded" in out
    assert len(epochs(out)) == 1 and "bounds an epoch" in out
    training = Card.read(tmp_path / "export/card.json").training
    assert {key: training[key] for key in ("arch", "source", "pretrained", "epochs", "size", "batch_size", "seed")} == {
        "arch": "resnet18",
        "source": "dataset mine",
        "pretrained": False,
        "epochs": 1,
        "size": 32,
        "batch_size": 8,
        "seed": 42,
    }
    assert training["manifest"] == sha256_of("photos/mine/manifest.csv") and len(training["split"]) == 64
    assert training["processes"] == 1 and training["seconds"] > 0 and training["device"]
    assert re.search(r"for 1 epoch, in \d+ s on ", out)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"heart": 6, "star": 1}, r"photos/mine/star holds too few photos \(1\)"),
        ({"heart": 6, "star": 0}, r"A classifier needs at least two labels, .*photos/mine: 1\."),
        ({"heart": 6}, r"A classifier needs at least two labels, .*photos/mine: 1\."),
        ({}, r"There is no file or folder mine"),
    ],
)
def test_rejects_too_few_photos(tmp_path, monkeypatch, capsys, labels, sentence):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "mine", **labels)
    assert main(["train", "mine", "--no-pretrained", *SMALL]) == 2
    err = capsys.readouterr().err
    assert re.match(f"icon-classifier: {sentence}", err) and err.count("\n") == 1


def test_rejects_unknown_architecture_before_gathering(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "sample", "--arch", "resnet19"]) == 2
    assert "There is no architecture resnet19" in capsys.readouterr().err
    assert not (tmp_path / "photos").exists()


def test_trains_on_a_hundred_labels_of_five_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(500):
        (tmp_path / f"mine/label {n // 5}").mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 80).save(tmp_path / f"mine/label {n // 5}/{n}.png")
    assert main(["train", "mine", "--no-pretrained", "--epochs", "1", "--size", "32"]) == 0
    card = Card.read(tmp_path / "export/card.json")
    photos = card.figures["photos"]
    assert len(card.labels) == 100 and sum(photos.values()) == 500 and 100 <= photos["valid"] <= 200
    assert all(figure["photos"] for figure in card.figures["per_label"].values())  # in validation
    assert (tmp_path / "export/confusion_matrix.png").stat().st_size < 1_000_000


def test_names_a_photo_that_breaks_after_gathering(tmp_path):
    from fastai.vision.all import resnet18, vision_learner

    photos = draw(tmp_path / "photos", heart=10, star=10)
    dls = _dataloaders(photos, 32, 8)
    learn = vision_learner(dls, resnet18, pretrained=False)
    broken = dls.train_ds.items[3]
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(PhotosError, match=re.escape(f"{broken} can no longer be read")):
        _fit(learn, False, 1, [])


def test_rejects_unwritable_export_folder_before_gathering(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").write_text("a file")
    assert main(["train", "sample"]) == 2
    assert "The export cannot be written into export (File exists)" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["export"]
    read_only = tmp_path / "read only"
    read_only.mkdir(mode=0o555)
    with unprivileged(), pytest.raises(ExportFolderError, match="Permission denied"):
        check_export(read_only)


@contextmanager
def unprivileged():
    """Run the body as an unprivileged user, because root may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_full_disk_keeps_the_last_export(tmp_path, monkeypatch, capsys):
    """A limit on the size of files simulates a full disk. Training ends with a sentence, and keeps the last export."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "mine", heart=6, star=6)
    (tmp_path / "export").mkdir()
    (tmp_path / "export/export.pkl").write_text("the last one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        assert main(["train", "mine", "--no-pretrained", "--epochs", "1", *SMALL]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = capsys.readouterr()
    assert "No checkpoint could be written" in printed.out
    assert re.match("icon-classifier: The export cannot be written into export .*Make room there", printed.err)
    assert os.listdir(tmp_path / "export") == ["export.pkl"]
    assert (tmp_path / "export/export.pkl").read_text() == "the last one"


def test_settings_equal_those_of_the_notebook():
    """The defaults and the DataBlock of train.py are those in the cells of train.ipynb."""
    cells = json.loads((ROOT / "notebooks/train.ipynb").read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    for name in ("epochs", "size", "batch_size"):
        line = next(line for line in source.splitlines() if f"{name} = {name} or" in line)
        assert f"({DRAWINGS[name]} if drawings else {PHOTOGRAPHS[name]})" in line
    module = (ROOT / "icon_classifier/training/train.py").read_text()
    block = re.search(r"icons = DataBlock\(.*?aug_transforms\(\)\)", module, re.DOTALL)[0]
    assert re.sub(r"\s+", " ", block) in re.sub(r"\s+", " ", source)
