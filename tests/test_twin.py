"""The twin: the same answers as fastai gives, for every rule of resizing, and nothing run or sent on loading."""

import json
import random
import shutil

import numpy as np
import pytest
from conftest import ROOT, python
from PIL import Image

from icon_classifier.classifier import ExportError, load_classifier
from icon_classifier.pictures import open_picture
from icon_classifier.preprocessing import prepare
from icon_classifier.training.sample import NAMES, draw_icon, find_glyphs

SIZES = [(64, 64), (500, 375), (375, 500), (1280, 720), (12, 9), (33, 57), (1500, 40), (40, 1500), (48, 48), (49, 50)]


def pictures():
    """300 pictures as uploads are: of all shapes and modes, turned by EXIF, opened by `open_picture`."""
    rng, made = random.Random(1), []
    glyphs = [find_glyphs(name) for name in NAMES]
    for number in range(300):
        mode = ("RGB", "L", "P", "RGBA", "1", "CMYK")[number % 6]
        icon = draw_icon(rng.choice(glyphs[number % 3]), rng, 96)
        image = icon.resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        if mode == "RGB":
            image.getexif()[0x0112] = 1 + number % 8
        made.append(open_picture(image))
    assert len({picture.size for picture in made}) >= 10
    return made


def rules():
    from fastai.vision.all import PadMode, RandomResizedCrop, Resize, ResizeMethod

    return {
        "RandomResizedCrop": RandomResizedCrop(48, min_scale=0.5),
        "RandomResizedCrop, oblong, val_xtra": RandomResizedCrop((40, 64), val_xtra=0.3),
        "crop": Resize(48),
        "crop, oblong": Resize((40, 64)),
        "squish": Resize((64, 40), ResizeMethod.Squish),
        "pad, reflection": Resize(48, ResizeMethod.Pad),
        "pad, border": Resize(48, ResizeMethod.Pad, pad_mode=PadMode.Border),
        "pad, zeros, oblong": Resize((40, 64), ResizeMethod.Pad, pad_mode=PadMode.Zeros),
    }


@pytest.mark.parametrize("name", list(rules()))
def test_parity(name, site, tmp_path):
    """On 300 pictures: the same input for the network, the same names, probabilities within 1e-3."""
    from fastai.vision import all as fv

    from icon_classifier.training.export import compile_export

    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        splitter=fv.GrandparentSplitter(),
        get_y=fv.parent_label,
        item_tfms=rules()[name],
        batch_tfms=[*fv.aug_transforms(), fv.Normalize.from_stats(*fv.imagenet_stats)],
    )
    dls = block.dataloaders(site / "photos/sample", bs=64, num_workers=0)
    learn = fv.vision_learner(dls, fv.resnet18, pretrained=False)
    learn.model.load_state_dict(fv.load_learner(site / "export/export.pkl").model.state_dict())
    with learn.no_bar(), learn.no_logging():
        learn.export((tmp_path / "export.pkl").absolute())
        card = compile_export(tmp_path / "export.pkl")
        twin = load_classifier(tmp_path / "export.pkl")
        asked = pictures()
        batches = learn.dls.test_dl(asked, num_workers=0)
        inputs = np.concatenate([batch[0].cpu().numpy() for batch in batches])
        expected = learn.get_preds(dl=learn.dls.test_dl(asked, num_workers=0))[0].numpy()
    assert type(twin).__name__ == "TwinClassifier"
    ours = np.stack([prepare(picture, card.preprocessing) for picture in asked])
    # fastai's augmentation samples validation pictures on a grid that is the identity up to rounding
    assert np.abs(ours - inputs).max() < 2e-3
    answers = [twin.predict(picture) for picture in asked]
    probabilities = np.array([[answer.probabilities[label] for label in twin.names] for answer in answers])
    assert np.abs(probabilities - expected).max() <= 1e-3
    assert [answer.name for answer in answers] == [twin.names[i] for i in expected.argmax(1)]
    assert len({answer.name for answer in answers}) >= 2 and np.ptp(expected) > 0.5  # not one answer for all


@pytest.fixture
def export(site, tmp_path):
    return shutil.copytree(site / "export", tmp_path / "export")


def test_the_twin_is_used_as_long_as_it_fits(export, site):
    picture = site / "photos/sample/valid/star/material-001.png"
    with_pickle = load_classifier(export / "export.pkl")
    pickle = (export / "export.pkl").read_bytes()
    (export / "export.pkl").unlink()
    alone = load_classifier(export / "export.pkl")
    assert [type(c).__name__ for c in (with_pickle, alone)] == ["TwinClassifier"] * 2
    assert with_pickle.predict(picture) == alone.predict(picture)
    (export / "export.pkl").write_bytes(pickle + b" ")  # another pickle, as when a new one is copied in
    stale = load_classifier(export / "export.pkl")
    assert type(stale).__name__ == "PickleClassifier" and stale.card is None
    assert stale.predict(picture).probability == pytest.approx(alone.predict(picture).probability, abs=1e-3)


@pytest.mark.parametrize("damage", ["truncated", "empty", "swapped"])
def test_a_damaged_twin_is_refused_in_words(export, damage):
    twin = export / "export.onnx"
    twin.write_bytes({"truncated": twin.read_bytes()[:-1], "empty": b"", "swapped": b"\x08\x08 another model"}[damage])
    with pytest.raises(ExportError, match=r"damaged, .* run: icon-classifier compile .*export\.pkl"):
        load_classifier(export / "export.pkl")


def test_a_twin_that_is_no_network_is_refused_in_words(export):
    from icon_classifier.card import sha256_of

    (export / "export.onnx").write_bytes(b"no network")
    card = json.loads((export / "card.json").read_text())
    card["twin"]["sha256"] = sha256_of(export / "export.onnx")
    (export / "card.json").write_text(json.dumps(card))
    with pytest.raises(ExportError, match="cannot be read by onnxruntime"):
        load_classifier(export / "export.pkl")


def test_on_a_host_a_pickle_without_its_twin_says_what_to_run(export):
    (export / "export.onnx").unlink()
    load = f"from icon_classifier.classifier import load_classifier as f; f({str(export / 'export.pkl')!r})"
    run = python("-c", load, environment=".venv-page")
    assert run.returncode and "run: icon-classifier compile" in run.stderr.splitlines()[-1]


LOAD = """
import os, sys
if {quiet}:
    from icon_classifier.classifier import load_classifier
    load_classifier({path!r}).predict({picture!r})
else:
    import onnxruntime
import time
time.sleep(0.5)
print(len(os.listdir("/proc/self/task")), *{{"torch", "fastai"}} & set(sys.modules))
"""


def test_nothing_is_sent_and_neither_fastai_nor_torch_is_loaded(site, tmp_path, monkeypatch):
    """onnxruntime alone starts a thread for its telemetry and leaves a file; as we load it, it does neither."""
    for variable in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD"):  # where one is set, it keeps quiet by itself
        monkeypatch.delenv(variable, raising=False)
    traces = {}
    for quiet in (True, False):
        home = tmp_path / str(quiet)
        home.mkdir()
        env = {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "" if quiet else "0"}
        picture = str(site / "photos/sample/valid/star/material-001.png")
        code = LOAD.format(quiet=quiet, path=str(site / "export/export.pkl"), picture=picture)
        run = python("-c", code, environment=".venv-page", env=env)
        assert run.returncode == 0, run.stderr
        traces[quiet] = (run.stdout.split(), [file for file in home.rglob("*") if file.is_file()])
    threads_and_modules, files = traces[True]
    assert threads_and_modules == ["1"] and files == []
    assert int(traces[False][0][0]) > 1 or traces[False][1], "onnxruntime no longer phones home: drop the variable"


def test_the_page_environment_is_small():
    """At most 330 MB of what requirements.txt names, bytecode caches and the installers left out."""
    folder = ROOT / ".venv-page"
    files = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and "__pycache__" not in f.parts]
    files = [f for f in files if not {"uv", "pip"} & {f.name, *f.relative_to(folder).parts}]
    assert sum(f.stat().st_size for f in files) <= 330e6
    assert not [f for f in files if f.parts[-2:] in (("torch", "__init__.py"), ("fastai", "__init__.py"))]
