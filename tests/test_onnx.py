"""Test the ONNX model: the same predictions as fastai for each resize method, and no code or telemetry on loading."""

import json
import os
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.process import PROGRAMS, python

from icon_classifier.images import ImageError, open_image
from icon_classifier.model.card import Card, sha256_of
from icon_classifier.model.classifier import ExportError, load_classifier, open_onnx, open_pickle, softmax
from icon_classifier.model.preprocessing import prepare
from icon_classifier.training.sample import LABELS, OTHERS, draw_icon, find_glyphs, make_sample, write_icons

SEED = 0  # of the untrained networks; the tests hold with any
SIZES = [(64, 64), (500, 375), (375, 500), (1280, 720), (12, 9), (33, 57), (1500, 40), (40, 1500), (48, 48), (49, 50)]


def uploads():
    """Return 300 images like uploads: all shapes and modes, with EXIF rotations, opened by `open_image`."""
    rng = random.Random(1)
    made = []
    glyphs = [find_glyphs(label) for label in LABELS]
    for number in range(300):
        mode = ("RGB", "L", "P", "RGBA", "1", "CMYK")[number % 6]
        icon = draw_icon(rng.choice(glyphs[number % 3]), rng, 96)
        image = icon.resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        if mode == "RGB":
            image.getexif()[0x0112] = 1 + number % 8
        made.append(open_image(image))
    assert len({each.size for each in made}) >= 10
    return made


def preprocessings():
    """Return {name: (transforms per image, transforms per batch, body of the network)}."""
    from fastai.vision.all import PadMode, RandomResizedCrop, Resize, ResizeMethod, aug_transforms, resnet18

    one_by_one = {
        "RandomResizedCrop": RandomResizedCrop(48, min_scale=0.5),
        "RandomResizedCrop, oblong, val_xtra": RandomResizedCrop((40, 64), val_xtra=0.3),
        "crop": Resize(48),
        "crop, oblong": Resize((40, 64)),
        "squish": Resize((64, 40), ResizeMethod.Squish),
        "pad, reflection": Resize(48, ResizeMethod.Pad),
        "pad, border": Resize(48, ResizeMethod.Pad, pad_mode=PadMode.Border),
        "pad, zeros, oblong": Resize((40, 64), ResizeMethod.Pad, pad_mode=PadMode.Zeros),
    }
    return {
        **{name: (item, aug_transforms(), resnet18) for name, item in one_by_one.items()},
        "presized": (Resize(80), aug_transforms(size=48), resnet18),
        "presized a lot, oblong": (Resize((200, 160)), aug_transforms(size=(48, 40)), resnet18),
        "a body of timm's": (Resize(64), aug_transforms(), "convnext_atto"),
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of drawings like the sample's, and of other things in .others."""
    folder = tmp_path_factory.mktemp("photos")
    make_sample(folder / "sample", per_label=20, as_scraped=False)
    write_icons(folder / ".others", OTHERS, per_label=4)
    return folder


def planted(photos, item, batch, arch, images):
    """Return an untrained Learner whose scores for `images` vary like those of a trained one.

    Its last layer gives the principal components of what it gets from `images`, so that the scores vary in every
    direction, with a standard deviation of 3. Half of `images` are in distribution.
    """
    import torch
    from fastai.vision import all as fv

    from icon_classifier.model.network import Network, parts
    from icon_classifier.training.features import features_and_scores, layers_and_scores
    from icon_classifier.training.ood import fit_ood_detector

    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        splitter=fv.GrandparentSplitter(),
        get_y=fv.parent_label,
        item_tfms=item,
        batch_tfms=[*batch, fv.Normalize.from_stats(*fv.imagenet_stats)],
    )
    dls = block.dataloaders(photos / "sample", bs=16, num_workers=0)
    fv.set_seed(SEED)
    learn = fv.vision_learner(dls, arch, pretrained=False)
    features, _ = features_and_scores(learn, images)
    head = parts(learn.model)[2]
    with torch.no_grad():
        given = head[:-1](features)
        _, sizes, components = torch.linalg.svd(given - given.mean(0), full_matrices=False)
        weight = components[: len(LABELS)] * (3 * len(given) ** 0.5 / sizes[: len(LABELS)])[:, None]
        last = learn.model[1][-1] = torch.nn.Linear(*weight.T.shape)
        last.weight.copy_(weight)
        last.bias.copy_(-weight @ given.mean(0))
    fit_ood_detector(learn)
    network = Network(learn.model, learn.ood_detector)
    ood_scores = network.ood_score(layers_and_scores(learn, images)[0]).sort().values
    middle = slice(len(ood_scores) // 3, 2 * len(ood_scores) // 3)
    gap = middle.start + int((ood_scores[1:] - ood_scores[:-1])[middle].argmax())
    learn.ood_detector["threshold"] = float(ood_scores[gap : gap + 2].mean())  # in a gap, away from rounding
    return learn


def same_labels(ours, theirs):
    """Return whether two lists of predictions have the same labels, except where the two best are nearly equal."""
    close = [np.ptp(sorted(prediction.probabilities.values())[-2:]) <= 2e-3 for prediction in theirs]
    return all(a.label == b.label or tie for a, b, tie in zip(ours, theirs, close, strict=True))


@pytest.mark.parametrize("name", list(preprocessings()))
def test_parity(name, photos, tmp_path):
    """On 300 images, the input of the network and the labels are the same, and probabilities within 1e-3."""
    import torch

    from icon_classifier.training.export import compile_export
    from icon_classifier.training.preprocessing import presizing_of

    asked = uploads()
    learn = planted(photos, *preprocessings()[name], asked)
    with learn.no_bar(), learn.no_logging():
        learn.export((tmp_path / "export.pkl").absolute())
        card = compile_export(tmp_path / "export.pkl")
        onnx = load_classifier(tmp_path / "export.pkl")
        batches = learn.dls.test_dl(asked, num_workers=0)
        inputs = np.concatenate([batch[0].cpu().numpy() for batch in batches])
        expected = learn.get_preds(dl=learn.dls.test_dl(asked, num_workers=0))[0].numpy()
    assert type(onnx).__name__ == "OnnxClassifier"
    ours = torch.tensor(np.stack([prepare(image, card.preprocessing) for image in asked]))
    ours = presizing_of(learn.dls)(ours).numpy()
    # fastai's augmentation samples validation images on a grid, which is the identity up to rounding
    assert np.abs(ours - inputs).max() < 2e-3
    predictions = onnx.predict_many(asked)
    probabilities = np.array([[prediction.probabilities[label] for label in onnx.labels] for prediction in predictions])
    assert np.abs(probabilities - expected).max() <= 1e-3
    tie = np.ptp(np.sort(expected)[:, -2:], axis=1) <= 2e-3
    best = [prediction.label == onnx.labels[i] for prediction, i in zip(predictions, expected.argmax(1), strict=True)]
    assert (best | tie).all() and tie.mean() < 0.05
    assert len({prediction.label for prediction in predictions}) >= 2 and np.ptp(expected) > 0.5
    assert {prediction.is_ood for prediction in predictions} == {True, False}


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """Return the folder of a finished export of an untrained network, with the ONNX model in fp32."""
    from fastai.vision.all import RandomResizedCrop, aug_transforms, resnet18

    from icon_classifier.training import quantization
    from icon_classifier.training.export import finish_export

    folder = tmp_path_factory.mktemp("fp32")
    learn = planted(photos, RandomResizedCrop(48, min_scale=0.5), aug_transforms(), resnet18, everything(photos))
    learn.export(folder / "export.pkl.part")
    with pytest.MonkeyPatch.context() as patch, learn.no_bar():
        patch.setattr(quantization, "MIN_INT8_AGREEMENT", 2)  # which no int8 model reaches
        finish_export(learn, folder)
    return folder


@pytest.fixture(scope="module")
def both(finished):
    """Return the classifiers of the pickle and of its ONNX model."""
    return open_pickle(finished / "export.pkl"), load_classifier(finished / "export.pkl")


@pytest.fixture
def export(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "export")


def drawings(photos, part):
    return sorted((photos / part).rglob("*.png"))


def everything(photos):
    return [*drawings(photos, "sample/valid"), *drawings(photos, ".others")]


def test_pickle_and_onnx_model_predict_the_same(photos, both):
    """Labels, OOD detection with its reason, and heatmaps."""
    ours, theirs = (classifier.predict_many(everything(photos), heatmap=True) for classifier in reversed(both))
    assert type(both[1]).__name__ == "OnnxClassifier" and same_labels(ours, theirs)
    assert [(a.is_ood, a.reason) for a in ours] == [(a.is_ood, a.reason) for a in theirs]
    assert {a.is_ood for a in ours} == {True, False} and all(bool(a.reason) is a.is_ood for a in ours)
    assert all(a.heatmap.shape == b.heatmap.shape == (2, 2) for a, b in zip(ours, theirs, strict=True))
    heatmaps = [(a.heatmap, b.heatmap) for a, b in zip(ours, theirs, strict=True) if a.label == b.label]
    largest = max(np.abs(theirs).max() for _, theirs in heatmaps)
    assert largest > 0.1 and max(np.abs(ours - theirs).max() for ours, theirs in heatmaps) < 1e-3 * max(largest, 1)


def test_predict_many_equals_predict(photos, both):
    asked = everything(photos)[::2]
    assert len(asked) > 16  # more than one batch
    for classifier in both:
        many = classifier.predict_many(image for image in asked)
        single = [classifier.predict(image) for image in asked]
        assert same_labels(many, single)
        assert [a.probability for a in many] == pytest.approx([a.probability for a in single], abs=1e-5)
        assert classifier.predict_many([]) == [] and single[0].heatmap is None
        with pytest.raises(ImageError):
            classifier.predict_many([asked[0], b"<html>"])


def test_ood_figures_match_the_card(site):
    """The card's figures match a count with its pickle, and other icons get higher OOD scores.

    Over 20 seeds of the sample's training (`benchmarks/ood.py sample --seeds 20`, on one NVIDIA H200) the AUROC was
    0.930 to 0.990, 0.974 on average, with a standard deviation of 0.02; and 72 to 96 % of the others were refused.
    """
    classifier = open_pickle(site / "export/export.pkl", load_classifier(site / "export/export.pkl").card)
    figures = classifier.card.figures["ood"]
    low, high = figures["interval"]
    assert 0.8 < figures["auroc"] <= 1 and low < figures["auroc"] < high and figures["others"] == 180
    assert 0.95 <= figures["kept"] / figures["photos"] <= 0.97
    counted = [
        [a.is_ood for a in classifier.predict_many(drawings(site / "photos", p))] for p in ("sample/valid", ".others")
    ]
    assert counted[0].count(False) == pytest.approx(figures["kept"], abs=1)  # rounding may change one verdict
    assert counted[1].count(True) == pytest.approx(figures["refused"], abs=1)


@pytest.mark.parametrize("used", [True, False])
def test_int8_is_used_if_it_agrees(finished, photos, tmp_path, monkeypatch, used):
    """The card's figures of agreement match a measurement with the two ONNX models."""
    from icon_classifier.training import quantization

    monkeypatch.setattr(quantization, "MIN_INT8_AGREEMENT", 0.0 if used else 2.0)
    monkeypatch.setattr(quantization, "MAX_INT8_DIFFERENCE", 1.0)
    full, small = finished / "export.onnx", shutil.copy(finished / "export.onnx", tmp_path)
    before = load_classifier(finished / "export.pkl").card
    valid = [(image, None) for image in drawings(photos, "sample/valid")]
    train = [(image, None) for image in drawings(photos, "sample/train")]
    card = quantization.quantize_if_accurate(tmp_path / "export.onnx", before, train, valid)
    assert [file.name for file in tmp_path.iterdir()] == ["export.onnx"]
    assert card.onnx["precision"] == ("int8" if used else "fp32") and card.onnx["sha256"] == sha256_of(small)
    assert card.onnx["difference"] == before.onnx["difference"]
    agreement = card.onnx["int8"]
    assert agreement["photos"] == len(valid) and 0 <= agreement["same"] <= 1
    if not used:
        assert sha256_of(small) == sha256_of(full)
        return
    assert os.path.getsize(small) < 0.35 * os.path.getsize(full)
    predictions = [open_onnx(path, card).predict_many(image for image, _ in valid) for path in (full, small)]
    names, probabilities = zip(
        *(
            ([a.label for a in each], np.array([[a.probabilities[label] for label in LABELS] for a in each]))
            for each in predictions
        ),
        strict=True,
    )
    same = np.mean([a == b for a, b in zip(*names, strict=True)])
    assert same == pytest.approx(agreement["same"], abs=1.1 / len(valid))  # except for one tie
    assert np.abs(probabilities[0] - probabilities[1]).mean() == pytest.approx(agreement["difference"], abs=1e-4)


def assert_verdicts_agree(full, small, card, photos):
    """The OOD score is not quantized: on images of other things it stays far outside its range on training photos."""
    images = [*drawings(photos, "sample/valid"), *drawings(photos, ".others")]
    ours, theirs = (open_onnx(path, card).predict_many(images) for path in (small, full))
    verdicts = [(a.is_ood, b.is_ood) for a, b in zip(ours, theirs, strict=True)]
    assert {b for _, b in verdicts} == {True, False} and np.mean([a == b for a, b in verdicts]) > 0.9


def make_smaller(finished, photos, folder, max_difference):
    """Quantize a copy of the ONNX model in `folder` if probabilities change by at most that; return its card."""
    from icon_classifier.training import quantization

    shutil.copy(finished / "export.onnx", folder)
    before = load_classifier(finished / "export.pkl").card
    valid, train = ([(image, None) for image in drawings(photos, f"sample/{part}")] for part in ("valid", "train"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "MIN_INT8_AGREEMENT", 0)
        patch.setattr(quantization, "MAX_INT8_DIFFERENCE", max_difference)
        return quantization.quantize_if_accurate(folder / "export.onnx", before, train, valid)


@pytest.fixture(scope="module")
def int8(finished, photos, tmp_path_factory):
    """Return the path of the int8 model, and its card."""
    folder = tmp_path_factory.mktemp("int8")
    card = make_smaller(finished, photos, folder, max_difference=1)
    assert card.onnx["precision"] == "int8" and card.onnx["int8"]["difference"] > 0
    return folder / "export.onnx", card


def test_int8_quantizes_all_convolutions(finished, photos, int8):
    """So no rounding of floating point decides about an integer."""
    import onnx

    file, card = int8
    graph = onnx.load(file).graph
    used = {name for node in graph.node for name in node.input}
    constants = {node.output[0] for node in graph.node if node.op_type == "Constant"}
    assert constants | {each.name for each in graph.initializer} <= used  # onnxruntime would warn of others
    made = {output: node.op_type for node in graph.node for output in node.output}
    inputs = [name for node in graph.node if node.op_type == "Conv" for name in node.input[:2]]
    assert {made.get(name) for name in inputs} == {"DequantizeLinear"}
    assert_verdicts_agree(finished / "export.onnx", file, card, photos)


def test_int8_is_the_same_on_every_machine(photos, int8, tmp_path):
    """onnxruntime's levels of optimization stand for other machines.

    At the highest level it computes convolutions in fp32 in another order.
    """
    import onnx
    import onnxruntime

    file, card = int8
    pixels = np.stack([prepare(open_image(image), card.preprocessing) for image in everything(photos)])
    found = []
    for level in ("ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(tmp_path / level)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        found.append(softmax(session.run(["scores"], {"images": pixels})[0]))
    assert np.abs(found[0] - found[1]).max() <= 1e-5
    # Sums in int8 round as the processor's instructions do, so there must be none.
    kinds = {node.op_type for node in onnx.load(tmp_path / "ORT_ENABLE_EXTENDED").graph.node}
    assert "QLinearConv" in kinds and "QLinearAdd" not in kinds


def test_int8_is_not_used_if_probabilities_differ_too_much(finished, photos, int8, tmp_path):
    card = make_smaller(finished, photos, tmp_path, 0.999 * int8[1].onnx["int8"]["difference"])
    assert card.onnx["precision"] == "fp32"
    assert sha256_of(tmp_path / "export.onnx") == sha256_of(finished / "export.onnx")


def test_int8_stores_large_arrays_in_half(finished, photos, tmp_path, monkeypatch):
    """The file is smaller, and the OOD detector exactly the same: its numbers were rounded before its threshold."""
    import onnx
    from onnx.numpy_helper import to_array

    from icon_classifier.training import quantization

    layers = open_pickle(finished / "export.pkl").learn.ood_detector["layers"]
    detector = [layer[name].numpy() for layer in layers for name in ("projection", "photos")]
    assert all((array == np.float16(array)).all() for array in detector)

    card = load_classifier(finished / "export.pkl").card
    images = drawings(photos, "sample/valid")
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    quantization.quantize(finished / "export.onnx", small, images, card.preprocessing)
    monkeypatch.setattr(quantization, "_store_in_half", lambda path: None)
    quantization.quantize(finished / "export.onnx", large, images, card.preprocessing)
    half = [to_array(each) for each in onnx.load(small).graph.initializer if each.name.endswith("_fp16")]
    assert small.stat().st_size == pytest.approx(large.stat().st_size - sum(each.nbytes for each in half), rel=0.01)
    expected = [layer["projection"].numpy() for layer in layers]
    assert all(any(np.array_equal(array, each) for each in half) for array in expected)

    probabilities, scores = zip(
        *(
            (softmax(found["scores"]), found["ood_score"])
            for path in (small, large)
            for found in [open_onnx(path, card)._run(list(map(open_image, images)), ["scores", "ood_score"])]
        ),
        strict=True,
    )
    assert np.abs(probabilities[0] - probabilities[1]).max() < 0.01
    assert np.abs(scores[0] - scores[1]).max() < 0.01 * np.std(scores[1])


def test_sample_card_has_the_figures_of_int8(site):
    card = load_classifier(site / "export/export.pkl").card
    agreement = card.onnx["int8"]
    agrees = agreement["same"] * 180 >= 0.995 * 180 - 1.001 and agreement["difference"] <= 0.01
    assert agrees == (card.onnx["precision"] == "int8")
    assert agreement["photos"] == 180


def test_interrupted_export_leaves_a_usable_one(export, monkeypatch):
    """After each possible interruption, the pickle is loaded with the matching card and ONNX model."""
    import onnx

    from icon_classifier.training.export import _put_in_place

    old = Card.read(export / "card.json")
    network = onnx.load(export / "export.onnx")
    network.producer_name = "another"
    onnx.save(network, export / "export.onnx.part")
    (export / "export.pkl.part").write_bytes((export / "export.pkl").read_bytes() + b" ")
    new = replace(
        old,
        sha256=sha256_of(export / "export.pkl.part"),
        onnx={**old.onnx, "sha256": sha256_of(export / "export.onnx.part")},
    )
    really = os.replace
    seen = []
    for last in range(7):
        folder = shutil.copytree(export, export.with_name(str(last)))
        done = []

        def rename(a, b, last=last, done=done):
            if len(done) == last:
                raise KeyboardInterrupt
            done.append(b)
            really(a, b)

        monkeypatch.setattr(os, "replace", rename)
        try:
            _put_in_place(folder, new, ("export.pkl", "export.onnx", "confusion_matrix.png"))
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(os, "replace", really)
        classifier = load_classifier(folder / "export.pkl")
        assert type(classifier).__name__ == "OnnxClassifier"
        assert classifier.card.sha256 == sha256_of(folder / "export.pkl")
        seen.append(classifier.card.sha256 == new.sha256)
    assert seen == sorted(seen) and {True, False} == set(seen)
    assert not list(folder.glob("*.part"))


def test_onnx_model_is_used_while_it_matches_the_pickle(export, photos):
    image = photos / "sample/valid/star/material-001.png"
    with_pickle = load_classifier(export / "export.pkl")
    pickle = (export / "export.pkl").read_bytes()
    (export / "export.pkl").unlink()
    alone = load_classifier(export / "export.pkl")
    assert [type(c).__name__ for c in (with_pickle, alone)] == ["OnnxClassifier"] * 2
    assert with_pickle.predict(image) == alone.predict(image)
    (export / "export.pkl").write_bytes(pickle + b" ")  # another pickle replaces it
    stale = load_classifier(export / "export.pkl")
    assert type(stale).__name__ == "PickleClassifier" and stale.card is None
    assert stale.predict(image).probability == pytest.approx(alone.predict(image).probability, abs=1e-3)


@pytest.mark.parametrize("damage", ["truncated", "empty", "swapped"])
def test_damaged_onnx_model_is_refused_with_a_reason(export, damage):
    onnx = export / "export.onnx"
    onnx.write_bytes({"truncated": onnx.read_bytes()[:-1], "empty": b"", "swapped": b"\x08\x08 another model"}[damage])
    with pytest.raises(ExportError, match=r"damaged, .* run: icon-classifier compile .*export\.pkl"):
        load_classifier(export / "export.pkl")


def test_onnx_file_without_a_network_is_refused(export):
    (export / "export.onnx").write_bytes(b"no network")
    card = json.loads((export / "card.json").read_text())
    card["onnx"]["sha256"] = sha256_of(export / "export.onnx")
    (export / "card.json").write_text(json.dumps(card))
    with pytest.raises(ExportError, match="cannot be read by onnxruntime"):
        load_classifier(export / "export.pkl")


def test_unsupported_network_is_refused_with_a_reason(finished, tmp_path):
    """No files are left behind."""
    from fastai.vision.all import load_learner
    from torch.fft import fft2

    from icon_classifier.training.export import CompileError, compile_export

    learn = load_learner(finished / "export.pkl")
    learn.model[0].register_forward_pre_hook(lambda _, images: (fft2(images[0]).real,))
    learn.export((tmp_path / "export.pkl").absolute())
    with pytest.raises(CompileError, match="PyTorch cannot write this network as ONNX"):
        compile_export(tmp_path / "export.pkl")
    assert [file.name for file in tmp_path.iterdir()] == ["export.pkl"]


def test_pickle_without_onnx_model_says_what_to_run(export):
    (export / "export.onnx").unlink()
    run = python(PROGRAMS / "predict.py", "load_classifier", str(export / "export.pkl"), environment=".venv-page")
    assert run.returncode and "run: icon-classifier compile" in run.stderr.splitlines()[-1]


def test_no_telemetry_and_no_fastai_or_torch(finished, photos, tmp_path, monkeypatch):
    """By default onnxruntime starts a telemetry thread and writes a file; load_classifier prevents both."""
    for variable in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD"):  # if one is set, onnxruntime sends no telemetry
        monkeypatch.delenv(variable, raising=False)
    traces = {}
    for quiet in (True, False):
        home = tmp_path / str(quiet)
        home.mkdir()
        env = {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "" if quiet else "0"}
        arguments = [finished / "export.pkl", photos / "sample/valid/star/material-001.png"] if quiet else []
        run = python(PROGRAMS / "count_threads.py", *arguments, environment=".venv-page", env=env)
        assert run.returncode == 0, run.stderr
        traces[quiet] = (run.stdout.split(), [file for file in home.rglob("*") if file.is_file()])
    threads_and_modules, files = traces[True]
    assert threads_and_modules == ["1"] and files == []
    assert int(traces[False][0][0]) > 1 or traces[False][1], "onnxruntime no longer phones home: drop the variable"


def test_page_environment_is_small():
    """The packages of requirements.txt take at most 330 MB, without bytecode caches and installers."""
    folder = ROOT / ".venv-page"
    files = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and "__pycache__" not in f.parts]
    files = [f for f in files if not {"uv", "pip"} & {f.name, *f.relative_to(folder).parts}]
    assert sum(f.stat().st_size for f in files) <= 330e6
    assert not [f for f in files if f.parts[-2:] in (("torch", "__init__.py"), ("fastai", "__init__.py"))]
