"""Read an export back and classify images with it: `load_classifier`, `Classifier`, `Prediction`."""

import os
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import IconClassifierError
from ..images import open_image
from .card import Card, CardError, sha256_of
from .preprocessing import prepare

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported, which happens only in `open_onnx`

ONNX = "export.onnx"
PARTIAL = ".part"  # the ending of files that are not in place yet
BATCH = 16  # pictures that go through the network together
OOD_REASON = "It looks less like the training photos than almost all validation photos did."


class ExportError(IconClassifierError, RuntimeError):
    """There is no usable export; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Prediction:
    """What a picture seems to be.

    label, probability: the likeliest label and its probability.
    probabilities: of every label, likeliest first.
    is_ood: whether the image is out of distribution, unlike the training photos; None where the export cannot tell.
    reason: why it is out of distribution, in words.
    heatmap: where the model looked, on request: a coarse array (height, width) over `preprocessing.visible_box`. Each
        cell is how much the log-odds of `label` fall when the features there are removed (see `network.Network`).
        None where the export cannot tell.
    """

    label: str
    probability: float
    probabilities: dict
    is_ood: bool | None = None
    reason: str = ""
    heatmap: np.ndarray | None = field(default=None, repr=False, compare=False)


class Classifier:
    """What both kinds of export can do. Not for several threads at once.

    labels: the labels in the model's order.
    card: what is known about the export (`Card`), or None.
    """

    def __init__(self, labels, card):
        self.labels = tuple(labels)
        self.card = card

    def predict(self, image, heatmap=False):
        """Return the `Prediction` for bytes, a path or a PIL image; raises `ImageError` as `open_image` does."""
        return self.predict_many([image], heatmap)[0]

    def predict_many(self, images, heatmap=False):
        """Return a `Prediction` per picture, in order, `BATCH` at a time; raises `ImageError` at a bad one."""
        images = iter(images)
        wanted = ["scores", "ood_score"]
        if heatmap:
            wanted.append("ablated")
        predictions = []
        while batch := list(islice(images, BATCH)):
            found = self._run(map(open_image, batch), wanted)  # one by one: an opened photo can take 40 MB
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
    """Probabilities from an array of scores (..., labels)."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_odds(scores, i):
    """The logarithm of p / (1 - p) for label number `i`, from an array of scores (..., labels)."""
    return scores[..., i] - np.logaddexp.reduce(np.delete(scores, i, -1), -1)


def load_classifier(path="export/export.pkl"):
    """Read an export and return its `Classifier`.

    export.onnx beside the pickle is taken where card.json says that it was compiled from this very
    pickle, or where the pickle is absent: it needs neither fastai nor torch and runs no code of the file's. Otherwise
    fastai loads the pickle, and a pickle runs whatever it holds: load only those of people you trust.
    Raises `ExportError` where there is no export, and where it is damaged or needs what is not installed.
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
    """What is wrong with an export.onnx whose SHA-256 is not the card's, and what to do."""
    other = other_file(onnx)
    what = f": it is {other}" if other else ""
    return (
        f"{onnx} is damaged, or not the one that card.json describes{what}. To make it anew from export.pkl, run: "
        f"icon-classifier compile {pickle}"
    )


def _drafts(path):
    """The file at `path`, and the one that was to replace it when a training was interrupted; those that exist."""
    return [file for file in (path, path.with_name(path.name + PARTIAL)) if file.is_file()]


def _card_of(path):
    """The card beside a pickle, or None where it is missing, damaged or about another pickle."""
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
    """export.onnx, run by onnxruntime."""

    def __init__(self, session, card):
        super().__init__(card.labels, card)
        from onnxruntime import RunOptions

        self.session = session
        self.options = RunOptions()
        self.options.only_execute_path_to_fetches = True  # the heatmap is computed for those who ask for it
        self.outputs = [output.name for output in session.get_outputs()]

    def _run(self, images, wanted):
        wanted = [output for output in self.outputs if output in wanted]
        pixels = np.stack([prepare(image, self.card.preprocessing) for image in images])
        return dict(zip(wanted, self.session.run(wanted, {"images": pixels}, self.options), strict=True))


def open_onnx(path, card):
    """The `OnnxClassifier` of an export.onnx, which `card` describes; raises `ExportError`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # visitors share the processor, not one picture
    options.enable_cpu_mem_arena = False  # the arena never gives memory back
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ExportError(f"{path} cannot be read by onnxruntime {onnxruntime.__version__} ({error}).") from error
    return OnnxClassifier(session, card)


class PickleClassifier(Classifier):
    """export.pkl, run by fastai."""

    def __init__(self, learn, card):
        from fastai.vision.augment import RandomResizedCrop, Resize

        from .network import Network

        super().__init__(map(str, learn.dls.vocab), card)
        sized = any(isinstance(transform, (Resize, RandomResizedCrop)) for transform in learn.dls.valid.after_item)
        self.batch = BATCH if sized else 1  # pictures of several sizes make no batch
        self.learn = learn
        self.network = Network(learn.model, getattr(learn, "ood_detector", None))

    def _run(self, images, wanted):
        from torch import inference_mode

        with inference_mode():
            batches = self.learn.dls.test_dl(list(images), bs=self.batch, num_workers=0)
            found = [self.network(batch) for (batch,) in batches]
        known = [what for what in wanted if all(what in each for each in found)]
        return {what: [row.numpy() for each in found for row in each[what]] for what in known}


def open_pickle(path, card=None):
    """The `PickleClassifier` of an export.pkl, which answers as fastai does; raises `ExportError`."""
    if other := other_file(path):
        raise ExportError(f"{path} is not a fastai image classifier, but {other}.")
    # The libraries' warnings (deprecations; that a pickle must be trusted) would stand on the visitor's page.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from .learner import check, read_learner
        except ImportError:
            raise ExportError(
                f"{path} has no ONNX model that fits it, and reading the pickle itself needs fastai. Where fastai is "
                f"installed, run: icon-classifier compile {path}"
            ) from None
        classifier = PickleClassifier(read_learner(path), card)
        check(path, classifier)
        return classifier


def other_file(path):
    """Return what a file is that holds neither a model nor weights, and what to do; "" where it may hold them."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file. Copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, which says where the file is. To fetch it, run: git lfs pull"
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page, such as a log-in or an error. Download the file itself"
    if head.startswith(b"PK\3\4"):  # torch.save makes a zip too, with one data.pkl in it
        if not zipfile.is_zipfile(path):
            return "the beginning of one: it was cut short. Copy it again"
        with zipfile.ZipFile(path) as archive:
            files = [name for name in archive.namelist() if not name.endswith("/")]
        if not any(name.endswith("/data.pkl") for name in files):
            return f"an archive of other files ({', '.join(files[:3])}). If what you need is in it, unpack that"
    return ""
