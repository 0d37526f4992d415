"""First floor: an export read back, ready to name pictures."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .card import Card, CardError, sha256_of
from .pictures import open_picture
from .preprocessing import prepare

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported, which happens only in `open_twin`

TWIN = "export.onnx"


class ExportError(RuntimeError):
    """There is no usable export; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Prediction:
    """The likeliest name, its probability, and the probability of every name, likeliest first."""

    name: str
    probability: float
    probabilities: dict


class Classifier:
    """What both kinds of export can do. Not for several threads at once.

    names: the labels in the model's order.
    card: what is known about the export (`Card`), or None.
    """

    def __init__(self, names, card):
        self.names, self.card = tuple(names), card

    def predict(self, picture):
        """The `Prediction` for bytes, a path or a PIL image; raises `PictureError` as `open_picture` does."""
        probabilities = self._probabilities(open_picture(picture))
        ranked = sorted(zip(self.names, probabilities, strict=True), key=lambda pair: -pair[1])
        return Prediction(*ranked[0], dict(ranked))


def load_classifier(path="export/export.pkl"):
    """Read an export and return its `Classifier`.

    export.onnx beside the pickle, its twin, is taken where card.json says that it was compiled from this very
    pickle, or where the pickle is absent: it needs neither fastai nor torch and runs no code of the file's. Otherwise
    fastai loads the pickle, and a pickle runs whatever it holds: load only those of people you trust.
    Raises `ExportError` where there is no export, and where it is damaged or needs what is not installed.
    """
    path = Path(path)
    card, twin = _card_of(path), path.with_name(TWIN)
    if card and card.twin and twin.is_file():
        return open_twin(twin, card)
    if not path.is_file():
        raise ExportError(f"There is no model at {path} yet. To make one, run `make train`, or notebooks/train.ipynb.")
    return open_pickle(path, card)


def _card_of(path):
    """The card beside a pickle, or None where it is missing, damaged or about another pickle."""
    try:
        card = Card.read(path.with_name("card.json"))
    except (OSError, CardError):
        return None
    return card if not path.is_file() or card.sha256 == sha256_of(path) else None


class TwinClassifier(Classifier):
    """export.onnx, run by onnxruntime."""

    def __init__(self, session, card):
        super().__init__(card.names, card)
        self.session = session

    def _probabilities(self, image):
        scores = self.session.run(["scores"], {"pictures": prepare(image, self.card.preprocessing)[None]})[0][0]
        powers = np.exp(scores - scores.max())
        return (powers / powers.sum()).tolist()


def open_twin(path, card):
    """The `TwinClassifier` of the export.onnx that `card` describes; raises `ExportError`."""
    if sha256_of(path) != card.twin["sha256"]:
        raise ExportError(
            f"{path} is damaged, or not the one that card.json describes. To make it anew from export.pkl, run: "
            f"icon-classifier compile {path.with_name('export.pkl')}"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # visitors share the processor, not one picture
    options.enable_cpu_mem_arena = False  # the arena never gives memory back
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ExportError(f"{path} cannot be read by onnxruntime {onnxruntime.__version__} ({error}).") from error
    return TwinClassifier(session, card)


class PickleClassifier(Classifier):
    """export.pkl, run by fastai."""

    def __init__(self, learn, card):
        super().__init__(map(str, learn.dls.vocab), card)
        self.learn = learn

    def _probabilities(self, image):
        with self.learn.no_bar(), self.learn.no_logging():
            return self.learn.predict(image)[2].tolist()


def open_pickle(path, card=None):
    """The `PickleClassifier` of an export.pkl; raises `ExportError`."""
    # The libraries' warnings (deprecations; that a pickle must be trusted) would stand on the visitor's page.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from fastai.learner import load_learner
        except ImportError:
            raise ExportError(
                f"{path} has no twin that fits it, and reading the pickle itself needs fastai. Where fastai is "
                f"installed, run: icon-classifier compile {path}"
            ) from None
        try:
            return PickleClassifier(load_learner(path), card)
        except Exception as error:  # unpickling foreign bytes can raise anything
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ExportError(f"{path} is not a fastai image classifier that I can read here ({reason}).") from error
