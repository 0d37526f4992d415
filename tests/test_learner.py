"""Test learner.py: any fastai export predicts the same as with fastai, or is refused with a sentence."""

import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
from fastai.vision import all as fv
from PIL import Image
from torch import nn
from torch.nn import functional

from icon_classifier.model.classifier import ExportError, load_classifier, open_pickle
from icon_classifier.training.export import CompileError, compile_export, finish_export

CROP = fv.Resize(32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return sixteen images of noise, labelled cat or dog."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8)).save(
            folder / f"{'cat' if i % 2 else 'dog'}_{i}.png"
        )
    return folder


def kind(path):
    return path.name[:3]


def network(n=2, channels=3):
    """Return a small deterministic network whose probabilities vary."""
    fv.set_seed(0)
    body = nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU())
    made = nn.Sequential(body, nn.Sequential(fv.AdaptiveConcatPool2d(), nn.Flatten(), nn.Linear(16, n)))
    made[1][2].weight.data *= 20
    return made


class Wrapped(nn.Module):
    """A network that is not an nn.Sequential."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, images):
        return self.inner(images)


def loaders(photos, *blocks, getters=(fv.noop, kind), item=CROP, **options):
    block = fv.DataBlock(
        blocks or (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        getters=list(getters),
        item_tfms=item,
        splitter=fv.RandomSplitter(seed=0),
        **options,
    )
    return block.dataloaders(photos, bs=4, num_workers=0)


def learner(photos, *blocks, model=None, loss_func=None, **options):
    return fv.Learner(loaders(photos, *blocks, **options), model or network(), loss_func=loss_func)


def low_level(photos):
    """A Learner without a DataBlock."""
    files = fv.get_image_files(photos)
    data = fv.Datasets(files, [[fv.PILImage.create], [kind, fv.Categorize]], splits=fv.RandomSplitter(seed=0)(files))
    dls = data.dataloaders(bs=4, after_item=[CROP, fv.ToTensor], after_batch=[fv.IntToFloatTensor], num_workers=0)
    return fv.Learner(dls, network())


def export(learn, folder):
    learn.export(folder / "export.pkl")
    return folder / "export.pkl"


def turned(image: fv.PILImage):
    return image.rotate(90)


READ = {
    "as usual": learner,
    "low level": low_level,
    "no nn.Sequential": lambda photos: learner(photos, model=Wrapped()),
    "label smoothing": lambda photos: learner(photos, loss_func=fv.LabelSmoothingCrossEntropy()),
    "focal loss": lambda photos: learner(photos, loss_func=fv.FocalLossFlat()),
    "labels True and False": lambda photos: learner(photos, getters=[fv.noop, lambda path: path.name[0] == "c"]),
    "numbers": lambda photos: learner(photos, fv.ImageBlock, fv.CategoryBlock([3, 7]), getters=[fv.noop, lambda _: 3]),
    "#na#": lambda photos: learner(photos, fv.ImageBlock, fv.CategoryBlock(add_na=True), model=network(3)),
    "y_range": lambda photos: fv.vision_learner(loaders(photos), fv.resnet18, pretrained=False, y_range=(-4, 4)),
    "half precision": lambda photos: learner(photos).to_fp16(),
}
PICKLE_ONLY = {
    "of all sizes": (lambda photos: learner(photos, item=None), "does not resize"),
    "own transform": (lambda photos: learner(photos, item=[CROP, turned]), "turned"),
    "once open": (
        lambda photos: learner(
            photos,
            fv.TransformBlock([fv.PILImage.create, lambda image: image.rotate(90)], batch_tfms=fv.IntToFloatTensor),
            fv.CategoryBlock,
        ),
        "lambda",
    ),
}


def assert_same_as_fastai(classifier, learn, photos):
    files = sorted(photos.iterdir())
    predictions = classifier.predict_many(files)
    for file, prediction in zip(files, predictions, strict=True):
        with learn.no_bar():
            label, _, probabilities = learn.predict(file)
        assert prediction.label == str(label)
        assert list(prediction.probabilities) == sorted(
            prediction.probabilities, key=lambda label: -prediction.probabilities[label]
        )
        ours = [prediction.probabilities[label] for label in classifier.labels]
        assert ours == pytest.approx(probabilities.tolist(), abs=1e-4)
    return predictions


@pytest.mark.parametrize("case", READ)
def test_reads_and_compiles(photos, tmp_path, case):
    learn = READ[case](photos)
    path = export(learn, tmp_path)
    assert_same_as_fastai(open_pickle(path), learn, photos)
    card = compile_export(path)
    onnx = load_classifier(path)
    assert type(onnx).__name__ == "OnnxClassifier" and onnx.labels == tuple(map(str, learn.dls.vocab))
    assert card.onnx["difference"] < 1e-4
    assert_same_as_fastai(onnx, learn, photos)


@pytest.mark.parametrize("case", PICKLE_ONLY)
def test_reads_what_cannot_be_compiled(photos, tmp_path, case):
    made, why = PICKLE_ONLY[case]
    learn = made(photos)
    path = export(learn, tmp_path)
    assert_same_as_fastai(open_pickle(path), learn, photos)
    with pytest.raises(CompileError, match=why):
        compile_export(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), functional.cross_entropy])
def test_losses_of_pytorch_imply_softmax(photos, tmp_path, loss):
    """fastai has no activation for them, and returns scores."""
    learn = learner(photos, loss_func=loss)
    path = export(learn, tmp_path)
    with learn.no_bar():
        expected = learn.get_preds(dl=learn.dls.test_dl(sorted(photos.iterdir())))[0].softmax(1).numpy()
    compile_export(path)
    for classifier in (open_pickle(path), load_classifier(path)):
        predictions = classifier.predict_many(sorted(photos.iterdir()))
        found = [[prediction.probabilities[label] for label in classifier.labels] for prediction in predictions]
        assert found == pytest.approx(expected, abs=1e-4)


class Sigmoid(nn.CrossEntropyLoss):
    def activation(self, scores):
        return scores.sigmoid()

    def decodes(self, found):
        return found.argmax(-1)


OTHERS = {
    "several labels": (
        lambda photos: learner(
            photos, fv.ImageBlock, fv.MultiCategoryBlock, getters=[fv.noop, lambda path: [kind(path)]]
        ),
        "any number of labels",
    ),
    "several labels, encoded": (
        lambda photos: learner(
            photos,
            fv.ImageBlock,
            fv.MultiCategoryBlock(encoded=True, vocab=["a", "b"]),
            getters=[fv.noop, lambda _: [0, 1]],
        ),
        "any number of labels",
    ),
    "grey": (
        lambda photos: learner(photos, fv.ImageBlock(fv.PILImageBW), fv.CategoryBlock, model=network(2, 1)),
        "greyscale images",
    ),
    "masks": (
        lambda photos: learner(photos, fv.ImageBlock(fv.PILMask), fv.CategoryBlock, model=network(2, 1)),
        "PILMask.create",
    ),
    "numbers": (
        lambda photos: learner(
            photos, fv.ImageBlock, fv.RegressionBlock, getters=[fv.noop, lambda _: 1.0], model=network(1)
        ),
        "regression",
    ),
    "points": (
        lambda photos: learner(
            photos,
            fv.ImageBlock,
            fv.PointBlock,
            getters=[fv.noop, lambda _: fv.tensor([[1.0, 2.0]])],
            loss_func=fv.MSELossFlat(),
        ),
        "points",
    ),
    "segmentation": (
        lambda photos: learner(
            photos, fv.ImageBlock, fv.MaskBlock(["a", "b"]), getters=[fv.noop, lambda _: np.zeros((40, 56), np.uint8)]
        ),
        "each pixel",
    ),
    "two inputs": (
        lambda photos: learner(
            photos, fv.ImageBlock, fv.ImageBlock, fv.CategoryBlock, getters=[fv.noop, fv.noop, kind]
        ),
        "2 inputs",
    ),
    "two targets": (
        lambda photos: learner(
            photos,
            fv.ImageBlock,
            fv.CategoryBlock,
            fv.CategoryBlock,
            getters=[fv.noop, kind, kind],
            n_inp=1,
            loss_func=fv.CrossEntropyLossFlat(),
        ),
        "2 targets per image",
    ),
    "texts": (
        lambda photos: fv.Learner(
            fv.Datasets(["a", "b"], [[str.upper], [str.lower, fv.Categorize]], splits=[[0], [1]]).dataloaders(bs=1),
            network(),
        ),
        "not opened by PILImage.create, but by str.upper",
    ),
    "more scores than labels": (lambda photos: learner(photos, model=network(5)), "returns 5 numbers for its 2 labels"),
    "labels with the same text": (
        lambda photos: learner(
            photos, fv.ImageBlock, fv.CategoryBlock([1, "1"], sort=False), getters=[fv.noop, lambda _: 1]
        ),
        "are the same text",
    ),
    "sigmoid": (lambda photos: learner(photos, loss_func=Sigmoid()), "do not come from a softmax .*Sigmoid"),
    "binary": (lambda photos: learner(photos, loss_func=fv.BCEWithLogitsLossFlat()), "do not come from a softmax"),
    "own loss": (
        lambda photos: learner(photos, loss_func=lambda scores, _: scores.sum()),
        "do not come from a softmax",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_refuses_other_kinds_of_models(photos, tmp_path, case):
    """Before any prediction, and also when compiling."""
    made, why = OTHERS[case]
    path = export(made(photos), tmp_path)
    for read in (open_pickle, load_classifier, compile_export):
        with pytest.raises(ExportError, match=rf"export\.pkl cannot be used here: .*{why}"):
            read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_finish_export_refuses_before_measuring(photos, tmp_path):
    learn = OTHERS["several labels"][0](photos)
    learn.export(tmp_path / "export.pkl.part")
    with pytest.raises(ExportError, match="any number of labels"):
        finish_export(learn, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["export.pkl.part"]  # the pickle is kept


def test_predictions_are_checked_against_fastai(photos, tmp_path):
    """Both classifiers use the parts of a network, and would ignore a hook of the whole network."""
    learn = learner(photos)
    learn.model.register_forward_hook(lambda _model, _inputs, scores: -scores)
    path = export(learn, tmp_path)
    for read in (open_pickle, compile_export):
        with pytest.raises(ExportError, match=r"differ by .* from fastai's"):
            read(path)


class Upside(fv.ToTensor):
    """Rotates images, but looks like a supported transform."""

    def encodes(self, image: fv.PILImage):
        return fv.TensorImage(fv.image2tensor(image.rotate(180)))


def test_onnx_model_is_checked_against_fastai(photos, tmp_path):
    learn = learner(photos, model=nn.Sequential(nn.Flatten(), fv.init_linear(nn.Linear(3072, 2)) or nn.Linear(3072, 2)))
    learn.dls.valid.after_item = fv.Pipeline([CROP, Upside()])
    path = export(learn, tmp_path)
    assert_same_as_fastai(open_pickle(path), learn, photos)
    with pytest.raises(CompileError, match=r"disagrees with learn.predict"):
        compile_export(path)
    assert list(tmp_path.iterdir()) == [path]


def test_large_feature_maps_give_no_heatmap(photos, tmp_path):
    """Removing each of 111 x 111 cells in turn would take gigabytes."""
    path = export(learner(photos, item=fv.Resize(224)), tmp_path)
    compile_export(path)
    for classifier in (open_pickle(path), load_classifier(path)):
        assert classifier.predict(Image.new("RGB", (40, 40)), heatmap=True).heatmap is None


MODULE = """
from torch import nn
from fastai.vision.all import PILImage, Transform
def label(path): return path.name[:3]
def turn(image: PILImage): return image.rotate(90)
class Turn(Transform):
    def encodes(self, image): return image
"""


@pytest.fixture
def gone(tmp_path, monkeypatch):
    """Return a module that exists while an export is made, and a function that removes it."""
    (tmp_path / "my_labels.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import my_labels

    def away():
        monkeypatch.undo()
        sys.modules.pop("my_labels", None)

    yield my_labels, away
    away()


def test_labelling_functions_are_not_needed(photos, tmp_path, gone):
    module, away = gone
    learn = learner(photos, getters=[fv.noop, module.label])
    path = export(learn, tmp_path)
    away()
    with pytest.raises((ImportError, UnboundLocalError)):  # the errors of fastai itself
        fv.load_learner(path)
    assert_same_as_fastai(open_pickle(path), learn, photos)
    compile_export(path)
    assert_same_as_fastai(load_classifier(path), learn, photos)


@pytest.mark.parametrize("name", ["turn", "Turn"])
def test_missing_function_is_named(photos, tmp_path, gone, name):
    module, away = gone
    what = getattr(module, name)
    path = export(learner(photos, item=[CROP, what if name == "turn" else what()]), tmp_path)
    away()
    for read in (open_pickle, compile_export):
        with pytest.raises(ExportError, match=rf"export\.pkl needs {name} of .* no module my_labels .*PYTHONPATH"):
            read(path)


def planted(photos, tmp_path, module, name, monkeypatch):
    """Return an export that contains an object of a class that no longer exists."""
    made = type(name, (), {"__module__": module})
    with monkeypatch.context() as patch:
        if module not in sys.modules:
            patch.setitem(sys.modules, module, types.ModuleType(module))
        patch.setattr(sys.modules[module], name, made, raising=False)
        learn = learner(photos)
        learn.planted = made()
        learn.export(tmp_path / "export.pkl", pickle_module=pickle)  # as fastai did it before cloudpickle
    return tmp_path / "export.pkl"


@pytest.mark.parametrize(
    ("module", "name", "sentence"),
    [
        ("__main__", "is_cat", "needs is_cat, which was defined in the notebook or script that trained it. Export it"),
        ("fastcore.dispatch", "TypeDispatch", "another version of fastai than .* learn.save"),
        ("fastai.basic_train", "Learner", "another version of fastai than .* learn.save"),
        ("timm.models.nowhere", "Net", "Net of the module timm.models.nowhere"),
        ("json", "Gone", "needs Gone of the module json, which the installed version of that module does not have"),
    ],
)
def test_name_missing_in_this_version_is_named(photos, tmp_path, monkeypatch, module, name, sentence):
    path = planted(photos, tmp_path, module, name, monkeypatch)
    with pytest.raises(ExportError, match=rf"export\.pkl .*{sentence}"):
        open_pickle(path)


class OtherPython:
    def __reduce__(self):
        return types.CodeType, (1, 2)


def weights(photos, path):
    learner(photos).save(path.with_suffix(""), with_opt=False)
    path.with_suffix(".pth").rename(path)


def archive(_photos, path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("export/readme.txt", "look")


def cut(photos, path):
    export(learner(photos), path.parent)
    path.write_bytes(path.read_bytes()[:-1000])


def of_another_python(photos, path):
    learn = learner(photos)
    learn.planted = OtherPython()
    learn.export(path)


def network_alone(_photos, path):
    fv.torch.save(network(), path)


FILES = {
    "empty": (lambda _, path: path.touch(), "an empty file. Copy it again"),
    "lfs": (
        lambda _, path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "a pointer of Git LFS.*run: git lfs pull",
    ),
    "html": (lambda _, path: path.write_text("\n<!DOCTYPE html><p>Log in"), "a web page.*Download the file itself"),
    "zip": (archive, r"an archive of other files \(export/readme.txt\)"),
    "cut": (cut, "an incomplete one. Copy it again"),
    "text": (lambda _, path: path.write_text("not a pickle"), "cannot be read here"),
    "pickle": (lambda _, path: path.write_bytes(pickle.dumps({"a": 1})), "cannot be read here"),
    "torch": (lambda _, path: fv.torch.save({"a": 1}, path), "a pickle of a dict"),
    "weights": (weights, "only weights.*Run learn.export"),
    "network": (network_alone, "only a network.*Run learn.export"),
    "python": (of_another_python, "another version of Python"),
}


@pytest.mark.parametrize("case", FILES)
def test_refuses_other_files(photos, tmp_path, case):
    make, why = FILES[case]
    path = tmp_path / "export.pkl"
    make(photos, path)
    with pytest.raises(ExportError, match=rf"(?s)export\.pkl (is not a fastai image classifier|was exported).*{why}"):
        load_classifier(path)


def test_git_lfs_pointer_instead_of_onnx_model_is_named(photos, tmp_path):
    path = export(learner(photos), tmp_path)
    compile_export(path)
    FILES["lfs"][0](None, tmp_path / "export.onnx")
    with pytest.raises(ExportError, match=r"export\.onnx is damaged.*git lfs pull"):
        load_classifier(path)
