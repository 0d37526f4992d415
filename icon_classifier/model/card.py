"""export/card.json as data: what a model is, how it was made and how good it is."""

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import IconClassifierError
from .card_form import check_card, check_form

FORMAT = 2
REMEDY = "Run the training notebook again."


class CardError(IconClassifierError, ValueError):
    """card.json cannot be used; the message says why in a sentence."""


@dataclass(frozen=True)
class Card:
    """What is known about an export.

    labels: the labels in the model's order.
    preprocessing: how a picture becomes the network's input (see `preprocessing.prepare`); None if it is not known.
    figures: `photos` by split, `error` on the validation photos (see `error_figure`), and what `calibrate` and
        `fit_ood_detector` found, as `calibration` and `ood`; empty if they are not known.
    training: architecture, epochs, source of the photos, date; `size`, `batch_size` and `seed`; `device`, `seconds`,
        `mixed_precision` and `processes`; `split` and `manifest`, the SHA-256 of which photo was on which side and of
        the dataset's manifest.csv.
    versions: of the packages that made it.
    sha256: of the export.pkl that this card describes.
    onnx: of export.onnx, its `sha256`, its `precision` (fp32 or int8), `difference`, how far the fp32 ONNX model's
        probabilities were from the pickle's at most, and of `int8` the share of `same` labels and the mean `difference`
        to fp32 on how many `photos`; None if there is no ONNX model.
    examples: pictures that the page offers to visitors, by label: the bytes of a small JPEG in base64.
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
        """Write to `path` (card.json) in one step: a crash leaves the old card whole."""
        path = Path(path)
        draft = path.with_name(path.name + ".part")
        draft.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, path)

    @classmethod
    def read(cls, path):
        """Read the card at `path`. Raises FileNotFoundError where there is none, and `CardError` if it is damaged."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            check_form(data, {"format": int}, "the card")
            if data["format"] != FORMAT:
                raise CardError(f"{path} has format {data['format']}; this version reads format {FORMAT}. {REMEDY}")
            check_card(data)
        except CardError:
            raise
        except (ValueError, RecursionError) as error:  # of json, of the decoding, or of the checks
            raise CardError(f"{path} is damaged: {error}. {REMEDY}") from None
        known = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        return cls(**{**known, "labels": tuple(data["labels"])})

    def images(self):
        """Return the example pictures: a list of (label, bytes)."""
        return [(label, base64.b64decode(image, validate=True)) for label, image in self.examples.items()]


def sha256_of(path):
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
