"""Test pretrained weights, downloaded and from a file, and fine-tuning from real ones."""

import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastai.vision import all as fv
from huggingface_hub.utils import _http
from safetensors.torch import save_file
from support.standin import lite0
from support.standin.textures import LABELS, render, write_textures
from torchvision.models import get_model_weights

from icon_classifier.model.classifier import load_classifier
from icon_classifier.training.weights import WeightsError, pretrained_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write photos of textures and files of weights: lite0 holds those of ImageNet, the others are random."""
    folder = tmp_path_factory.mktemp("weights")
    write_textures(folder / "few", 2)
    torch.manual_seed(1)
    for arch in (fv.resnet18, fv.resnet34, fv.squeezenet1_1):
        torch.save(arch().state_dict(), folder / f"{arch.__name__}.pth")
    densenet = fv.densenet121().state_dict()  # PyTorch's file has older names, which contain dots
    old = {
        re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", name): value
        for name, value in densenet.items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(old, folder / "densenet121.pth")
    save_file(lite0.weights(), folder / "lite0.safetensors")
    torch.save(lite0.weights(), folder / "lite0.pth")
    return folder


@pytest.fixture
def no_downloads(tmp_path, monkeypatch):
    """Use empty caches, and a proxy whose port is closed."""
    from huggingface_hub import constants

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    return SimpleNamespace(torch=tmp_path / "torch/hub/checkpoints", hub=tmp_path / "hub", constants=constants)


def learner(photos, arch, **options):
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        get_y=fv.parent_label,
        item_tfms=fv.Resize(64),
    )
    fv.set_seed(3)
    return fv.vision_learner(block.dataloaders(photos, bs=2, num_workers=0), arch, **options)


def initial_state(learn):
    """Return the parameters, which of them are frozen, the normalization, and the next random number."""
    normalize = learn.dls.after_batch.fs.filter(lambda t: isinstance(t, fv.Normalize))
    return learn.model.state_dict(), dict(
        trained=[[parameter.requires_grad for parameter in group] for group in learn.splitter(learn.model)],
        normalization=[(t.mean.flatten().tolist(), t.std.flatten().tolist()) for t in normalize],
        pretrained=learn.pretrained,
        next=torch.rand(1).item(),
    )


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121", "lite0.pth", "lite0.safetensors"])
def test_file_has_the_same_effect_as_the_download(folder, no_downloads, name):
    """The reference is `vision_learner` with the same weights in its cache of downloads."""
    torchvision = hasattr(fv, name)
    arch = getattr(fv, name) if torchvision else lite0.ARCH
    file = folder / (f"{name}.pth" if torchvision else name)
    with pretrained_weights(arch, file) as options:
        ours, ours_else = initial_state(learner(folder / "few", arch, **options))
    assert not no_downloads.torch.exists() and not no_downloads.hub.exists()
    if torchvision:
        no_downloads.torch.mkdir(parents=True)
        kept = Path(torch.hub.get_dir(), "checkpoints", get_model_weights(arch).DEFAULT.url.rsplit("/")[-1])
        kept.write_bytes(file.read_bytes())
    else:
        model = no_downloads.hub / "models--timm--tf_efficientnet_lite0.in1k"
        (model / "refs").mkdir(parents=True)
        (model / "refs/main").write_text("0" * 40)
        (model / "snapshots" / ("0" * 40)).mkdir(parents=True)
        save_file(lite0.weights(), model / "snapshots" / ("0" * 40) / "model.safetensors")
    with pretrained_weights(arch) as options:
        assert options == {}
        theirs, theirs_else = initial_state(learner(folder / "few", arch))
    assert ours_else == theirs_else
    assert ours_else["normalization"] and not all(ours_else["trained"][0]) and all(ours_else["trained"][-1])
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


class Code:
    def __reduce__(self):
        return open, ("ran", "w")


WRONG = {
    "absent": (None, "There is no file .* It should hold the weights of resnet18"),
    "of another architecture": ("resnet34.pth", "its weights belong to another architecture"),
    "of timm's": ("lite0.pth", "its weights belong to another architecture"),
    "safetensors": ("lite0.safetensors", "does not hold the weights of resnet18: "),
    "truncated": (
        lambda file: file.write_bytes(file.read_bytes()[:-1000]),
        "but an incomplete one",
    ),
    "empty": (lambda file: file.write_bytes(b""), "but an empty file"),
    "a web page": (lambda file: file.write_text("<!DOCTYPE html><title>Log in</title>"), "but a web page"),
    "a pointer": (lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
    "a pickle with code": (
        lambda file: file.write_bytes(pickle.dumps(Code())),
        "holds something other than weights",
    ),
    "code in PyTorch's own": (lambda file: torch.save({"a": Code()}, file), "holds something other than weights"),
    "a whole network": (lambda file: torch.save(fv.resnet18(), file), "holds something other than weights"),
    "a list": (lambda file: torch.save([torch.ones(1)], file), "does not hold the weights of resnet18: "),
    "text": (lambda file: file.write_text("weights"), "does not hold the weights of resnet18: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_rejects_unsuitable_file(folder, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    change, sentence = WRONG[case]
    file = tmp_path / "resnet18.pth"
    if callable(change):
        file.write_bytes((folder / "resnet18.pth").read_bytes())
        change(file)
    elif change:
        file = folder / change
    before = torch.hub.get_dir()
    with pytest.raises(WeightsError, match=sentence) as refusal, pretrained_weights(fv.resnet18, file):
        pytest.fail("not refused")
    said = str(refusal.value)
    assert str(file) in said and "resnet18" in said and "\n" not in said and said.endswith(".")
    assert not (tmp_path / "ran").exists() and torch.hub.get_dir() == before


@pytest.mark.parametrize("name", ["resnet18.pth", "truncated.safetensors", "page.pth", "code.pth"])
def test_rejects_unsuitable_file_for_timm(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet18.pth").write_bytes((folder / "resnet18.pth").read_bytes())
    (tmp_path / "truncated.safetensors").write_bytes((folder / "lite0.safetensors").read_bytes()[:-1000])
    (tmp_path / "page.pth").write_text("<html>")
    torch.save({"a": Code()}, tmp_path / "code.pth")
    with pytest.raises(WeightsError) as refusal, pretrained_weights(lite0.ARCH, tmp_path / name):
        pytest.fail("not refused")
    said = str(refusal.value)
    assert f"{tmp_path / name} " in said and f" of {lite0.ARCH}" in said and "\n" not in said
    assert not (tmp_path / "ran").exists()


def test_rejects_architecture_without_pretrained_weights(folder):
    with pytest.raises(WeightsError, match="The weights of xresnet18 cannot be read from"):
        with pretrained_weights(fv.xresnet18, folder / "resnet18.pth"):
            pytest.fail("not refused")


@pytest.mark.parametrize(
    ("arch", "address"),
    [
        (fv.resnet18, r"https://download\.pytorch\.org/models/resnet18-\w+\.pth"),
        (lite0.ARCH, r"https://huggingface\.co/timm/tf_efficientnet_lite0\.in1k/resolve/main/model\.safetensors"),
        ("offline mode", r"https://huggingface\.co/timm/tf_efficientnet_lite0\.in1k/resolve/main/model\.safetensors"),
    ],
)
def test_failed_download_says_what_to_do(folder, no_downloads, monkeypatch, arch, address):
    if arch == "offline mode":
        monkeypatch.setattr(no_downloads.constants, "HF_HUB_OFFLINE", True)
        arch = lite0.ARCH
    # huggingface_hub tries again after 1, 2, 4, 8 and 8 s, twice
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))
    with pytest.raises(WeightsError) as refusal, pretrained_weights(arch) as options:
        learner(folder / "few", arch, **options)
    said = str(refusal.value)
    assert re.search(rf"Go online and run this cell again; or download {address} on another computer", said)
    assert "set weights to the path of that file" in said and "set pretrained = False" in said and "\n" not in said


def test_other_exceptions_are_not_caught(folder):
    with pytest.raises(ZeroDivisionError), pretrained_weights(fv.resnet18, folder / "resnet18.pth"):
        raise ZeroDivisionError


def test_fine_tuning_from_real_weights_lowers_the_error(folder, tmp_path, monkeypatch, execute_here):
    """In train.ipynb at 224 pixels, in two epochs of 48 images of textures. Guessing has an error of two thirds."""
    write_textures(tmp_path / "textures", 20)
    weights = str(folder / "lite0.safetensors")
    execute_here(source=str(tmp_path / "textures"), arch=lite0.ARCH, weights=weights, epochs=1, batch_size=8)
    classifier = load_classifier(tmp_path / "export/export.pkl")
    card = classifier.card
    assert card.training["pretrained"] and card.training["arch"] == lite0.ARCH
    assert card.preprocessing["size"] == [224, 224] and card.preprocessing["mean"] and card.onnx["difference"] < 1e-3
    unseen = [(label, render(label, 1000 + seed)) for label in LABELS for seed in range(12)]
    predictions = classifier.predict_many(image for _, image in unseen)
    wrong = [label != prediction.label for (label, _), prediction in zip(unseen, predictions, strict=True)]
    assert np.mean(wrong) < 0.4
