"""Load an export and classify images with it: `load_classifier`, `Classifier`, `Prediction`."""

import os
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import IconClassifierError
from ..files import PARTIAL
from ..images import open_image
from .card import Card, CardError, sha256_of
from .preprocessing import prepare

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported, which happens only in `open_onnx`

ONNX = "export.onnx"
BATCH = 16  # images per batch
OOD_REASON = "It looks less like the training photos than almost all validation photos did."


class ExportError(IconClassifierError, RuntimeError):
    """There is no usable export. The message says why and what to do."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for an image.

    label, probability: the most probable label and its probability.
    probabilities: a dict of the probability of each label, the most probable first.
    is_ood: whether the image is out of distribution, that is, unlike the training photos; None if the export cannot
        detect this.
    reason: why the image is out of distribution, as a sentence.
    heatmap: if requested, which regions support the prediction: a coarse array (height, width) that covers
        `preprocessing.visible_box`. Each cell is the decrease of the log-odds of `label` when the features of that cell
        are removed (see `network.Network`). None if the export cannot compute it.
    """

    label: str
    probability: float
    probabilities: dict
    is_ood: bool | None = None
    reason: str = ""
    heatmap: np.ndarray | None = field(default=None, repr=False, compare=False)


class Classifier:
    """Base class of the classifiers of both kinds of export. Not thread-safe.

    labels: the labels in the model's order.
    card: the `Card` of the export, or None.
    """

    def __init__(self, labels, card):
        self.labels = tuple(labels)
        self.card = card

    def predict(self, image, heatmap=False):
        """Return the `Prediction` for an image: bytes, a path or a PIL image.

        heatmap: whether to compute the heatmap. Raises `ImageError` as `open_image` does.
        """
        return self.predict_many([image], heatmap)[0]

    def predict_many(self, images, heatmap=False):
        """Return a list with the `Prediction` of each image; see `predict`. Works in batches of `BATCH` images."""
        images = iter(images)
        wanted = ["scores", "ood_score"]
        if heatmap:
            wanted.append("ablated")
        predictions = []
        while batch := list(islice(images, BATCH)):
            found = self._run(map(open_image, batch), wanted)  # opened one by one, because a photo can take 40 MB
            for i in range(len(batch)):
                predictions.append(self._prediction({output: array[i] for output, array in found.items()}))
        return predictions

    def _prediction(self, found):
        scores = found["scores"].astype(float)
        ranked = sorted(zip(self.labels, softmax(scores).tolist(), strict=True), key=lambda pair: -pair[1])
        label, probability = ranked[0]
        is_ood = bool(found["ood_score"] > 0) if "ood_score" in found else None
        reason = OOD_REASON if is_ood else ""
        heatmap = None
        if "ablated" in found:
            best = self.labels.index(label)
            heatmap = log_odds(scores, best) - log_odds(found["ablated"].astype(float), best)
        return Prediction(label, probability, dict(ranked), is_ood, reason, heatmap)


def softmax(scores):
    """Return the probabilities for an array of scores (..., labels)."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_odds(scores, i):
    """Return log(p / (1 - p)) of label number `i` for an array of scores (..., labels)."""
    return scores[..., i] - np.logaddexp.reduce(np.delete(scores, i, -1), -1)


def load_classifier(path="export/export.pkl"):
    """Load the export at `path` and return its `Classifier`.

    The ONNX model (export.onnx beside the pickle) is used if card.json says that it was compiled from this pickle, or
    if there is no pickle. It needs neither fastai nor torch, and loading it runs no code. Otherwise fastai loads the
    pickle. Loading a pickle can run any code in it, so load only pickles from people you trust.

    Raises `ExportError` if there is no export, if it is damaged, or if a package that it needs is not installed.
    """
    path = Path(path)
    card = _card_of(path)
    models = _drafts(path.with_name(ONNX)) if card and card.onnx else []
    for onnx in models:
        if sha256_of(onnx) == card.onnx["sha256"]:
            return open_onnx(onnx, card)
    if models:
        raise ExportError(_not_its_onnx(models[0], path.with_name("export.pkl")))
    if not path.is_file():
        raise ExportError(f"There is no model at {path} yet. To make one, run `make train`, or notebooks/train.ipynb.")
    return open_pickle(path, card)


def _not_its_onnx(onnx, pickle):
    """Return the error message for an export.onnx whose SHA-256 differs from the card's."""
    other = other_file(onnx)
    what = f": it is {other}" if other else ""
    return (
        f"{onnx} is damaged, or is not the file that card.json describes{what}. To compile it again from export.pkl, "
        f"run: icon-classifier compile {pickle}"
    )


def _drafts(path):
    """Return the existing ones of two files: `path`, and its replacement by an export that was interrupted."""
    return [file for file in (path, path.with_name(path.name + PARTIAL)) if file.is_file()]


def _card_of(path):
    """Return the card beside a pickle; None if it is missing, damaged, or about another pickle."""
    sha256 = sha256_of(path) if path.is_file() else None
    for file in _drafts(path.with_name("card.json")):
        try:
            card = Card.read(file)
        except (OSError, CardError):
            continue
        if sha256 in (None, card.sha256):
            return card
    return None


class OnnxClassifier(Classifier):
    """Classifies images with export.onnx and onnxruntime."""

    def __init__(self, session, card):
        super().__init__(card.labels, card)
        from onnxruntime import RunOptions

        self.session = session
        self.options = RunOptions()
        self.options.only_execute_path_to_fetches = True  # compute the heatmap only on request
        self.outputs = [output.name for output in session.get_outputs()]

    def _run(self, images, wanted):
        wanted = [output for output in self.outputs if output in wanted]
        pixels = np.stack([prepare(image, self.card.preprocessing) for image in images])
        return dict(zip(wanted, self.session.run(wanted, {"images": pixels}, self.options), strict=True))


def open_onnx(path, card):
    """Return the `OnnxClassifier` of the export.onnx at `path`, which `card` describes. Raises `ExportError`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the processor's cores are for concurrent visitors
    options.enable_cpu_mem_arena = False  # the arena never returns memory to the system
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ExportError(
            f"{path} cannot be read by onnxruntime {onnxruntime.__version__} ({error}). Copy it again, or install the "
            "version that card.json names."
        ) from error
    return OnnxClassifier(session, card)


class PickleClassifier(Classifier):
    """Classifies images with export.pkl and fastai."""

    def __init__(self, learn, card):
        from fastai.vision.augment import RandomResizedCrop, Resize

        from .network import Network

        super().__init__(map(str, learn.dls.vocab), card)
        sized = any(isinstance(transform, (Resize, RandomResizedCrop)) for transform in learn.dls.valid.after_item)
        self.batch = BATCH if sized else 1  # images of different sizes cannot be in one batch
        self.learn = learn
        self.network = Network(learn.model, getattr(learn, "ood_detector", None))

    def _run(self, images, wanted):
        from torch import inference_mode

        with inference_mode():
            batches = self.learn.dls.test_dl(list(images), bs=self.batch, num_workers=0)
            found = [self.network(batch) for (batch,) in batches]
        outputs = [output for output in wanted if all(output in each for each in found)]
        return {output: [row.numpy() for each in found for row in each[output]] for output in outputs}


def open_pickle(path, card=None):
    """Return the `PickleClassifier` of the export.pkl at `path`, which predicts as fastai does.

    Raises `ExportError`.
    """
    if other := other_file(path):
        raise ExportError(f"{path} is not a fastai image classifier, but {other}.")
    # The visitor's page would show the libraries' warnings (about deprecations, and about loading a pickle).
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from .learner import check, read_learner
        except ImportError:
            raise ExportError(
                f"{path} has no matching ONNX model, and reading the pickle needs fastai. On a computer with fastai, "
                f"run: icon-classifier compile {path}"
            ) from None
        classifier = PickleClassifier(read_learner(path), card)
        check(path, classifier)
        return classifier


def other_file(path):
    """Return what a file is if it holds neither a model nor weights, and what to do; otherwise ""."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file. Copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS and not the file itself. To fetch the file, run: git lfs pull"
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page, such as a login page or an error. Download the file itself"
    if head.startswith(b"PK\3\4"):  # torch.save writes a zip too, which contains one data.pkl
        if not zipfile.is_zipfile(path):
            return "an incomplete one. Copy it again"
        with zipfile.ZipFile(path) as archive:
            files = [name for name in archive.namelist() if not name.endswith("/")]
        if not any(name.endswith("/data.pkl") for name in files):
            return f"an archive of other files ({', '.join(files[:3])}). If it contains the file you need, unpack it"
    return ""
