"""Read and write export/card.json: what a model is, how it was trained, and its figures."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import IconClassifierError
from ..files import write_atomic
from .card_form import check_card, check_form

FORMAT = 2
REMEDY = "Run the training notebook again."


class CardError(IconClassifierError, ValueError):
    """card.json cannot be used. The message says why and what to do."""


@dataclass(frozen=True)
class Card:
    """The data of a model card.

    labels: the labels in the model's order.
    preprocessing: how an image becomes the network's input (see `preprocessing.prepare`), or None if unknown.
    figures: the number of `photos` by split; the `error` on the validation photos (see `error_figure`); and the
        results of `calibrate` and `fit_ood_detector` as `calibration` and `ood`. Empty if unknown.
    training: architecture, epochs, source of the photos, date; `size`, `batch_size` and `seed`; `device`, `seconds`,
        `mixed_precision` and `processes`; `split` and `manifest`, the SHA-256 of which photo was on which side, and of
        the dataset's manifest.csv.
    versions: the versions of the packages that made the export.
    sha256: the SHA-256 of the export.pkl that this card describes.
    onnx: data about export.onnx, or None if there is no ONNX model: its `sha256`; its `precision` (fp32 or int8);
        `difference`, the largest difference between the probabilities of the fp32 ONNX model and of the pickle; and
        `int8`, with the share of labels that are the `same` as in fp32, the mean `difference` between the
        probabilities, and the number of `photos` that were compared.
    examples: images that the page offers to visitors, by label: the bytes of a small JPEG in base64.
    """

    labels: tuple
    preprocessing: dict | None
    figures: dict
    training: dict
    versions: dict
    sha256: str
    onnx: dict | None = None
    examples: dict = field(default_factory=dict)
    format: int = FORMAT

    def write(self, path):
        """Write the card to `path` (card.json) atomically."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_atomic(Path(path), text.encode())

    @classmethod
    def read(cls, path):
        """Return the card at `path`.

        Raises FileNotFoundError if the file does not exist, and `CardError` if it is damaged.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            check_form(data, {"format": int}, "the card")
            if data["format"] != FORMAT:
                raise CardError(f"{path} has format {data['format']}; this version reads format {FORMAT}. {REMEDY}")
            check_card(data)
        except CardError:
            raise
        except (ValueError, RecursionError) as error:  # raised by json, by the decoder, or by the checks
            raise CardError(f"{path} is damaged: {error}. {REMEDY}") from None
        known = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        return cls(**{**known, "labels": tuple(data["labels"])})

    def detects_ood(self):
        """Return whether the model was measured on images of other things, and refused at least half of them."""
        ood = self.figures.get("ood") or {}
        return "auroc" in ood and ood["refused"] >= ood["others"] / 2

    def images(self):
        """Return the example images: a list of (label, bytes of a JPEG)."""
        return [(label, base64.b64decode(image, validate=True)) for label, image in self.examples.items()]


def sha256_of(path):
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
