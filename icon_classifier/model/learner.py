"""Read any fastai export.pkl, or raise `ExportError`. Imports fastai and torch, so import this only when needed."""

import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from fastai import __version__ as fastai_version
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize
from fastai.learner import Learner, load_learner
from fastai.vision.core import PILImage, PILImageBW
from fasttransform import Transform
from PIL import Image
from torch.nn import functional

from .classifier import ExportError

TOLERANCE = 1e-3  # the maximum difference between the probabilities of fastai and of this project

# The last transform of a model's targets -> the task of the model
_TARGETS = {
    "MultiCategorize": "it predicts any number of labels per image (multi-label)",
    "EncodedMultiCategorize": "it predicts any number of labels per image (multi-label)",
    "RegressionSetup": "it predicts numbers (regression)",
    "PILMask": "it labels each pixel (segmentation)",
    "TensorPoint": "it predicts points",
    "TensorBBox": "it predicts bounding boxes",
}


def read_learner(path):
    """Return the fastai Learner in an export.pkl. It must predict one label per colour image.

    Loading a pickle can run any code in it. Functions that cannot be imported here are replaced by placeholders that
    raise an error when they are called, because prediction does not need the functions that labelled the training
    photos. Raises `ExportError` if the file contains no such Learner.
    """
    missing = []
    try:
        module = SimpleNamespace(__name__="pickle", Unpickler=_unpickler(missing), load=pickle.load)
        learn = load_learner(path, pickle_module=module)
        why = _another_kind(learn)
    except ExportError as error:
        raise ExportError(f"{path} {error}") from None
    except Exception as error:  # unpickling untrusted bytes can raise anything
        raise ExportError(f"{path} {_reason(error, missing)}") from error
    if why:
        raise ExportError(
            f"{path} cannot be used here: {why}. This project needs a model that predicts one label per colour image."
        )
    return learn


def check(path, classifier):
    """Check that a `PickleClassifier`, read from `path`, predicts the same as fastai. Raises `ExportError`."""
    try:
        difference = difference_from_fastai(classifier, classifier.learn, trial_images()[:2])
    except Exception as error:  # any network and transforms can raise anything
        why = str(error) if isinstance(error, ExportError) else f"fails on a test image ({_first_line(error)})."
        raise ExportError(f"{path} {why}") from error
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{path} cannot be used here: its probabilities would differ by {difference:.3f} from fastai's. Use "
            "learn.predict instead."
        )


def difference_from_fastai(classifier, learn, images):
    """Return the largest difference between the probabilities of `classifier` and of `learn.predict` on `images`.

    `learn` uses its own transforms and the activation of its own loss function.
    """
    softmax_of = None if hasattr(learn.loss_func, "activation") else partial(functional.softmax, dim=-1)
    with learn.no_bar(), learn.no_logging():
        loader = learn.dls.test_dl(list(images), bs=1, num_workers=0)
        theirs = learn.get_preds(dl=loader, act=softmax_of)[0]  # PyTorch's losses, unlike fastai's, have no activation
    shape = "x".join(map(str, theirs.shape[1:]))
    n = len(classifier.labels)
    if shape != str(n):
        raise ExportError(f"cannot be used here: its network returns {shape} numbers for its {n} labels.")
    ours = [
        [prediction.probabilities[label] for label in classifier.labels]
        for prediction in classifier.predict_many(images)
    ]
    return float(np.abs(theirs.cpu().numpy() - ours).max())


def trial_images():
    """Return colourful PIL images of many shapes, always the same, on which two classifiers can be compared."""
    rng = np.random.default_rng(0)
    sizes = (400, 300), (300, 400), (224, 224), (64, 64), (17, 23), (1000, 60), (60, 1000), (801, 801)
    colours = [rng.integers(0, 256, (6, 6, 3), np.uint8) for _ in sizes]
    return [Image.fromarray(c).resize(s, Image.Resampling.BICUBIC) for c, s in zip(colours, sizes, strict=True)]


def after_opening(dls):
    """Return the transforms of `dls` that fastai applies to an image after opening it in colour."""
    transforms = dls.valid_ds.tls[0].tfms.fs
    return transforms[[_maker(transform) for transform in transforms].index(PILImage) + 1 :]


def _maker(transform):
    """Return the class whose method `create` is the transform, or else the class of the transform."""
    methods = getattr(getattr(transform, "encodes", None), "methods", None) or [None]
    owner = getattr(getattr(methods[0], "implementation", None), "__self__", None)
    return owner if isinstance(owner, type) else type(transform)


def called(transform):
    """Return the name of a fastai transform: that of its class, or of the function that it wraps."""
    maker = _maker(transform)
    if maker is not type(transform):
        return f"{maker.__name__}.create"
    return transform.name if maker is Transform else maker.__name__


def _another_kind(learn):
    """Return why a Learner does not predict one label per colour image, as part of a sentence; "" if it does."""
    data = learn.dls.valid_ds
    if not isinstance(data, Datasets):
        return f"it was not trained on images with labels, but on {type(data).__name__}"
    if data.n_inp != 1:
        return f"it takes {data.n_inp} inputs at a time"
    if len(data.tls) != 2:
        return f"it predicts {len(data.tls) - 1} targets per image"
    images, targets = ([_maker(transform) for transform in each.tfms.fs] for each in data.tls)
    if PILImageBW in images:
        return "it takes greyscale images"
    if PILImage not in images:
        return f"its input is not opened by PILImage.create, but by {' and '.join(map(called, data.tls[0].tfms.fs))}"
    if targets[-1] is not Categorize:
        for maker in targets:
            if maker.__name__ in _TARGETS:
                return _TARGETS[maker.__name__]
        return f"its targets are not labels, but the output of {called(data.tls[1].tfms.fs[-1])}"
    labels = list(map(str, learn.dls.vocab))
    if len(set(labels)) < len(labels):
        return f"several of its {len(labels)} labels are the same text"
    if not _softmax(learn.loss_func, len(labels)):
        loss = getattr(learn.loss_func, "__name__", type(learn.loss_func).__name__)
        return f"its probabilities do not come from a softmax (the loss is {loss})"
    return ""


def _softmax(loss, n):
    """Return whether `loss` turns `n` scores into probabilities by a softmax, and into a label by the maximum."""
    if not hasattr(loss, "activation"):
        return type(loss) is torch.nn.CrossEntropyLoss or loss is functional.cross_entropy
    scores = 5 * torch.linspace(-1, 1, 4 * n).sin().view(4, n)
    made = loss.activation(scores)
    return torch.allclose(made, scores.softmax(1)) and torch.equal(loss.decodes(made), scores.argmax(1))


def _unpickler(missing):
    """Return an Unpickler class that accepts only Learners and appends what it cannot import to the list `missing`."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError) as error:
                why = module, name, error
            missing.append(why)

            def stand_in(*_args, **_options):
                raise ExportError(_without(*why))

            return stand_in

        def load(self):
            found = super().load()
            if not isinstance(found, Learner):
                raise ExportError(_no_learner(found, missing))
            return found

    return Unpickler


def _no_learner(found, missing):
    """Return the error message for a pickle that does not contain a Learner."""
    if missing:
        return _without(*missing[-1])
    inner = found.get("model", found) if isinstance(found, dict) else found
    if isinstance(inner, dict) and any(isinstance(value, torch.Tensor) for value in inner.values()):
        what = "only weights, as learn.save and torch.save write them"
    elif isinstance(inner, torch.nn.Module):
        what = "only a network"
    else:
        kind = type(found).__name__
        return f"is not a fastai image classifier, but a pickle of a {kind}. Export one with learn.export()."
    return (
        f"is not a fastai image classifier, but {what}, without labels and transforms. Run learn.export() in the "
        "notebook that has the Learner, and use that file."
    )


def _reason(error, missing):
    """Return the error message for a pickle whose reading raised `error`. `missing`: what could not be imported."""
    if missing:
        return _without(*missing[-1])
    if isinstance(error, TypeError) and str(error).startswith("code"):
        return "was exported by another version of Python, whose functions cannot be read here. Use that version."
    return f"is not a fastai image classifier, or cannot be read here ({_first_line(error)}). Export it again."


def _without(module, name, error):
    """Return the error message for a pickle that needs `name` of a `module`, whose import raised `error`."""
    needs = f"needs {name} of the module {module}"
    if module.split(".")[0] in ("fastai", "fastcore", "fasttransform"):
        return (
            f"{needs}, so it was exported by another version of fastai than the {fastai_version} here. Run learn.save "
            f"where it was trained. Then create the same Learner here and run learn.load and learn.export; or train "
            f"again."
        )
    if module == "__main__":
        return (
            f"needs {name}, which was defined in the notebook or script that trained it. Export it there with fastai "
            f"{fastai_version}, which includes the function in the file, or move it to a module that Python finds here."
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{needs}, and there is no module {error.name} here. If it is a package, install it. If it is your own "
            "file, put it into a folder that PYTHONPATH contains."
        )
    return f"{needs}, which the installed version of that module does not have. Install the version that was used."


def _first_line(error):
    return next(iter(str(error).splitlines()), "") or type(error).__name__
