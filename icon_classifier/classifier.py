"""First floor: an export read back, ready to name pictures."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from .card import Card, CardError, sha256_of
from .pictures import open_picture


class ExportError(RuntimeError):
    """There is no usable export; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Prediction:
    """The likeliest name, its probability, and the probability of every name, likeliest first."""

    name: str
    probability: float
    probabilities: dict


def load_classifier(path="export/export.pkl"):
    """Read an export and return its classifier: `.names`, `.card` and `.predict(picture)`.

    A pickle runs whatever it holds: load only exports that you, or somebody you trust, have made.
    Raises `ExportError` where there is none, where it is damaged, and where fastai is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"There is no model at {path} yet. To make one, run `make train`, or notebooks/train.ipynb.")
    # The libraries' warnings (deprecations; that a pickle must be trusted) would stand on the visitor's page.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from fastai.learner import load_learner
        except ImportError:
            raise ExportError(f"Reading {path} needs fastai: pip install fastai") from None
        try:
            learn = load_learner(path)
            names = [str(name) for name in learn.dls.vocab]
        except Exception as error:  # unpickling foreign bytes can raise anything
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ExportError(f"{path} is not a fastai image classifier that I can read here ({reason}).") from error
    return FastaiClassifier(learn, names, _card_of(path))


class FastaiClassifier:
    """A fastai export that predicts on the CPU. Not for several threads at once."""

    def __init__(self, learn, names, card=None):
        self.learn, self.names, self.card = learn, tuple(names), card

    def predict(self, picture):
        """The `Prediction` for bytes, a path or a PIL image; raises `PictureError` as `open_picture` does."""
        image = open_picture(picture)
        with self.learn.no_bar(), self.learn.no_logging():
            probabilities = self.learn.predict(image)[2].tolist()
        ranked = sorted(zip(self.names, probabilities, strict=True), key=lambda pair: -pair[1])
        return Prediction(*ranked[0], dict(ranked))


def _card_of(path):
    """The card beside a pickle, or None where it is missing, damaged or another export's."""
    try:
        card = Card.read(path.with_name("card.json"))
    except (OSError, CardError):
        return None
    return card if card.sha256 == sha256_of(path) else None
