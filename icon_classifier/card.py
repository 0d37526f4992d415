"""Ground floor: export/card.json says what a model is, how it was made and how good it is."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FORMAT = 1


class CardError(ValueError):
    """card.json cannot be used; the message says why in a sentence."""


@dataclass(frozen=True)
class Card:
    """What is known about an export.

    names: the labels in the model's order.
    preprocessing: how a picture becomes the network's input (see `preprocessing.prepare`); None if it is not known.
    figures: `photos` by split and `error` on the validation photos (see `error_figure`); empty if they are not known.
    training: architecture, epochs, source of the photos, date.
    versions: of the packages that made it.
    sha256: of the export.pkl that this card describes.
    twin: of export.onnx, its `sha256` and `difference`, how far its probabilities were from the pickle's at most;
        None if there is no twin.
    """

    names: tuple
    preprocessing: dict
    figures: dict
    training: dict
    versions: dict
    sha256: str
    twin: dict | None = None
    format: int = FORMAT

    def write(self, path):
        """Write to `path` (card.json) in one step: a crash leaves the old card whole."""
        path = Path(path)
        draft = path.with_name(path.name + ".part")
        draft.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, path)

    @classmethod
    def read(cls, path):
        """The card at `path`. Raises FileNotFoundError where there is none and `CardError` for any other trouble."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise CardError(f"{path} has format {data['format']}; this version reads format {FORMAT}.")
            card = cls(**{field.name: data[field.name] for field in fields(cls)})
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CardError(f"{path} is damaged ({error!r}). Run the training notebook again.") from None
        named = isinstance(card.names, list) and card.names and all(isinstance(name, str) for name in card.names)
        twinned = card.twin is None or (
            isinstance(card.twin, dict) and "sha256" in card.twin and isinstance(card.preprocessing, dict)
        )
        if not (named and twinned):
            what = "what it says of the twin" if named else "its list of names"
            raise CardError(f"{path} is damaged: {what} cannot be used. Run the training notebook again.")
        return cls(**{**vars(card), "names": tuple(card.names)})


def sha256_of(path):
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def error_figure(errors, photos):
    """An error rate with what it rests on: `errors`, `photos`, `rate` and its 95 % `interval`.

    The interval is Wilson's (1927), which stays sensible for 0 errors and for few photos.
    """
    if not 0 <= errors <= photos or not photos:
        raise ValueError(f"{errors} errors of {photos} photos is no error rate")
    z = 1.959964  # the normal distribution's 97.5 % point
    rate = errors / photos
    centre = (rate + z * z / (2 * photos)) / (1 + z * z / photos)
    half = z / (1 + z * z / photos) * (rate * (1 - rate) / photos + z * z / (4 * photos * photos)) ** 0.5
    return {
        "errors": errors,
        "photos": photos,
        "rate": rate,
        "interval": [max(0.0, centre - half), min(1.0, centre + half)],
    }


def in_words(names):
    """`["a", "b", "c"]` -> "a, b and c"."""
    names = list(names)
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
