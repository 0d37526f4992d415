"""Read anybody's export.pkl, or raise `ExportError`. Needs fastai and torch, so import it only when used."""

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

TOLERANCE = 1e-3  # the largest difference of probability between fastai and what stands in for it

# What a model does whose targets these transforms make
_TARGETS = {
    "MultiCategorize": "it gives a picture any number of labels (multi-label)",
    "EncodedMultiCategorize": "it gives a picture any number of labels (multi-label)",
    "RegressionSetup": "it estimates numbers (regression)",
    "PILMask": "it labels each pixel (segmentation)",
    "TensorPoint": "it finds points",
    "TensorBBox": "it finds boxes",
}


def read_learner(path):
    """The fastai Learner in an export.pkl that gives colour pictures one label each.

    Loading runs what the file holds. Functions that are missing here are stood in for: those that labelled the
    training pictures are of no use any more, and the others raise when they are called. Raises `ExportError` for
    anything else than such a Learner.
    """
    missing = []
    try:
        module = SimpleNamespace(__name__="pickle", Unpickler=_unpickler(missing), load=pickle.load)
        learn = load_learner(path, pickle_module=module)
        why = _another_kind(learn)
    except ExportError as error:
        raise ExportError(f"{path} {error}") from None
    except Exception as error:  # unpickling foreign bytes can raise anything
        raise ExportError(f"{path} {_reason(error, missing)}") from error
    if why:
        raise ExportError(f"{path} cannot be used here: {why}. This project gives colour pictures one label each.")
    return learn


def check(path, classifier):
    """Raise `ExportError` where a `PickleClassifier`, read from `path`, fails or predicts otherwise than fastai."""
    try:
        difference = difference_from_fastai(classifier, classifier.learn, trial_images()[:2])
    except Exception as error:  # a network and transforms of anybody's can raise anything
        why = str(error) if isinstance(error, ExportError) else f"fails on a picture ({_first_line(error)})."
        raise ExportError(f"{path} {why}") from error
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{path} cannot be used here: its probabilities would differ by {difference:.3f} from fastai's."
        )


def difference_from_fastai(classifier, learn, images):
    """The largest difference between the probabilities that `classifier` and `learn` itself give to `images`.

    That is, what `learn.predict` says: its own transforms and its own loss function's activation.
    """
    softmax_of = None if hasattr(learn.loss_func, "activation") else partial(functional.softmax, dim=-1)
    with learn.no_bar(), learn.no_logging():
        loader = learn.dls.test_dl(list(images), bs=1, num_workers=0)
        theirs = learn.get_preds(dl=loader, act=softmax_of)[0]  # PyTorch's own losses have no activation
    shape = "x".join(map(str, theirs.shape[1:]))
    n = len(classifier.labels)
    if shape != str(n):
        raise ExportError(f"cannot be used here: for its {n} labels its network gives {shape} numbers.")
    ours = [
        [prediction.probabilities[label] for label in classifier.labels]
        for prediction in classifier.predict_many(images)
    ]
    return float(np.abs(theirs.cpu().numpy() - ours).max())


def trial_images():
    """Colourful PIL images of many shapes, the same each time, to compare two classifiers on."""
    rng = np.random.default_rng(0)
    sizes = (400, 300), (300, 400), (224, 224), (64, 64), (17, 23), (1000, 60), (60, 1000), (801, 801)
    colours = [rng.integers(0, 256, (6, 6, 3), np.uint8) for _ in sizes]
    return [Image.fromarray(c).resize(s, Image.Resampling.BICUBIC) for c, s in zip(colours, sizes, strict=True)]


def after_opening(dls):
    """The transforms of the inputs of `dls` that come once fastai has opened a picture, in colour."""
    transforms = dls.valid_ds.tls[0].tfms.fs
    return transforms[[_maker(transform) for transform in transforms].index(PILImage) + 1 :]


def _maker(transform):
    """The class whose `create` a transform is, or the transform's own."""
    methods = getattr(getattr(transform, "encodes", None), "methods", None) or [None]
    owner = getattr(getattr(methods[0], "implementation", None), "__self__", None)
    return owner if isinstance(owner, type) else type(transform)


def called(transform):
    """The name of a fastai transform: its class's, or that of the function that it was made from."""
    maker = _maker(transform)
    if maker is not type(transform):
        return f"{maker.__name__}.create"
    return transform.name if maker is Transform else maker.__name__


def _another_kind(learn):
    """Why a Learner is none that gives colour pictures one label each, as part of a sentence; "" if it is one."""
    data = learn.dls.valid_ds
    if not isinstance(data, Datasets):
        return f"it was not trained on pictures with labels, but on {type(data).__name__}"
    if data.n_inp != 1:
        return f"it takes {data.n_inp} inputs at a time"
    if len(data.tls) != 2:
        return f"it gives {len(data.tls) - 1} answers to a picture"
    images, targets = ([_maker(transform) for transform in each.tfms.fs] for each in data.tls)
    if PILImageBW in images:
        return "it looks at grey pictures"
    if PILImage not in images:
        return f"its input is not opened by PILImage.create, but by {' and '.join(map(called, data.tls[0].tfms.fs))}"
    if targets[-1] is not Categorize:
        known = [_TARGETS[maker.__name__] for maker in targets if maker.__name__ in _TARGETS]
        return (known or [f"its answers are not labels, but what {called(data.tls[1].tfms.fs[-1])} makes"])[0]
    labels = list(map(str, learn.dls.vocab))
    if len(set(labels)) < len(labels):
        return f"several of its {len(labels)} labels read the same"
    if not _softmax(learn.loss_func, len(labels)):
        loss = getattr(learn.loss_func, "__name__", type(learn.loss_func).__name__)
        return f"its probabilities are not those of a softmax (the loss is {loss})"
    return ""


def _softmax(loss, n):
    """Whether answers to a network trained with `loss` are the softmax of its `n` scores, and their maximum."""
    if not hasattr(loss, "activation"):
        return type(loss) is torch.nn.CrossEntropyLoss or loss is functional.cross_entropy
    scores = 5 * torch.linspace(-1, 1, 4 * n).sin().view(4, n)
    made = loss.activation(scores)
    return torch.allclose(made, scores.softmax(1)) and torch.equal(loss.decodes(made), scores.argmax(1))


def _unpickler(missing):
    """A pickle.Unpickler that notes in `missing` what it does not find, and takes nothing but Learners."""

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
    """What is wrong, where a pickle holds something else than a Learner."""
    if missing:
        return _without(*missing[-1])
    inner = found.get("model", found) if isinstance(found, dict) else found
    if isinstance(inner, dict) and any(isinstance(value, torch.Tensor) for value in inner.values()):
        what = "weights alone, as learn.save and torch.save write them"
    elif isinstance(inner, torch.nn.Module):
        what = "a network alone"
    else:
        return f"is not a fastai image classifier, but a pickle of a {type(found).__name__}."
    return (
        f"is not a fastai image classifier, but {what}, without labels and transforms. In the notebook that has the "
        "Learner, run learn.export(), and take that file."
    )


def _reason(error, missing):
    """What is wrong, where reading a pickle raised `error` and things were `missing`."""
    if missing:
        return _without(*missing[-1])
    if isinstance(error, TypeError) and str(error).startswith("code"):
        return "was exported by another version of Python, whose functions cannot be read here: use that version."
    return f"is not a fastai image classifier that I can read here ({_first_line(error)})."


def _without(module, name, error):
    """What is wrong, where a pickle needs `name` of a module, and looking for it raised `error`."""
    needs = f"needs {name} of the module {module}"
    if module.split(".")[0] in ("fastai", "fastcore", "fasttransform"):
        return (
            f"{needs}, so it was exported by another version of fastai than the {fastai_version} here. Where it was "
            f"made, run learn.save; then make the same Learner here, run learn.load and learn.export, or train again."
        )
    if module == "__main__":
        return (
            f"needs {name}, which was defined in the notebook or script that trained it. Export it from there with "
            f"fastai {fastai_version}, which packs it into the file, or move it to a module that is importable here."
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{needs}, and there is no module {error.name} here. If it is a package, install it; if it is a file of "
            "yours, put it where Python finds it, such as into a folder named by PYTHONPATH."
        )
    return f"{needs}, which is not in the version of that module here. Install the version that it was made with."


def _first_line(error):
    return next(iter(str(error).splitlines()), "") or type(error).__name__
