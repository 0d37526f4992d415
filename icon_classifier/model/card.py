"""Ground floor: export/card.json says what a model is, how it was made and how good it is."""

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

FORMAT = 1


class CardError(ValueError):
    """card.json cannot be used; the message says why in a sentence."""


@dataclass(frozen=True)
class Card:
    """What is known about an export.

    names: the labels in the model's order.
    preprocessing: how a picture becomes the network's input (see `preprocessing.prepare`); None if it is not known.
    figures: `photos` by split, `error` on the validation photos (see `error_figure`), and what `calibrate` and
        `familiarise` found, as `calibration` and `familiarity`; empty if they are not known.
    training: architecture, epochs, source of the photos, date.
    versions: of the packages that made it.
    sha256: of the export.pkl that this card describes.
    twin: of export.onnx, its `sha256`, its `precision` (fp32 or int8), `difference`, how far the fp32 twin's
        probabilities were from the pickle's at most, and of `int8` the share of `same` names and the mean `difference`
        to fp32 on how many `photos`; None if there is no twin.
    examples: pictures that the page offers to visitors, by name: the bytes of a small JPEG in base64.
    """

    names: tuple
    preprocessing: dict
    figures: dict
    training: dict
    versions: dict
    sha256: str
    twin: dict | None = None
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
        """The card at `path`. Raises FileNotFoundError where there is none and `CardError` for any other trouble."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise CardError(f"{path} has format {data['format']}; this version reads format {FORMAT}.")
            known = {each.name for each in fields(cls)}
            card = cls(**{name: value for name, value in data.items() if name in known})
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CardError(f"{path} is damaged ({error!r}). Run the training notebook again.") from None
        named = isinstance(card.names, list) and card.names and all(isinstance(name, str) for name in card.names)
        twinned = card.twin is None or (
            isinstance(card.twin, dict) and "sha256" in card.twin and isinstance(card.preprocessing, dict)
        )
        if not (named and twinned):
            what = "what it says of the twin" if named else "its list of names"
            raise CardError(f"{path} is damaged: {what} cannot be used. Run the training notebook again.")
        card = cls(**{**vars(card), "names": tuple(card.names)})
        try:
            card.in_prose()
            card.pictures()
        except Exception as error:  # what has another form than ours can fail in many ways
            raise CardError(f"{path} is damaged ({error!r}). Run the training notebook again.") from None
        return card

    def pictures(self):
        """The example pictures: a list of (name, bytes)."""
        return [(name, base64.b64decode(picture, validate=True)) for name, picture in self.examples.items()]

    def facts(self):
        """What there is to know, as a list of sentences, each with its figures and what they rest on."""
        names, figures, training = in_words(self.names), self.figures, self.training
        facts = [f"This model says which of {names} a picture is most like; it knows nothing else."]
        if training:
            start = "starting from weights that had seen ImageNet's photographs" if training.get("pretrained") else ""
            n = training.get("epochs")
            epochs = f"for {n} epoch{'s' * (n != 1)}" if n else ""
            source = {"sample": "drawn by the project", "search": "found by a search engine"}.get(
                training.get("source")
            )
            photos = f"{figures['photos']['train']} pictures {source or ''}".strip() if "photos" in figures else ""
            words = [training.get("arch"), photos and f"on {photos}", start and f", {start},", epochs]
            facts.append(f"Trained: {' '.join(filter(None, words))}; {training['made']}.".replace(" ,", ","))
        if error := figures.get("error"):
            facts.append(f"Wrong on {error_in_words(error)}, among pictures that it had not learned from.")
        if calibration := figures.get("calibration"):
            facts.append(_calibration_in_words(calibration))
        if familiarity := figures.get("familiarity"):
            facts.append(_familiarity_in_words(familiarity))
        return facts

    def in_prose(self, confusion=None):
        """The model card in Markdown, after Mitchell et al., "Model Cards for Model Reporting" (2019).

        `confusion`: the address of a picture of the confusion matrix.
        """
        lines = [f"# {in_words(self.names)}: a model card", "", *(f"- {fact}" for fact in self.facts()), ""]
        if confusion:
            lines += ["Each row is what a picture was, each column what the model said:", ""]
            lines += [f"![The confusion matrix]({confusion})", ""]
        lines += ["## What it cannot know", "", *(f"- {limit}" for limit in LIMITS), "", "## Files", ""]
        lines += ["- `export.pkl` is the model, fastai's own. Loading it runs whatever it holds."]
        if self.twin:
            lines += [
                f"- `export.onnx` is its twin, in {self.twin.get('precision', 'fp32')}. {twin_in_words(self.twin)}"
            ]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join([*lines, f"- Made with {versions}.", ""])


LIMITS = [
    "It compares looks. It does not identify anybody, and nothing about a person should be decided by it.",
    "It has learned whatever the pictures of a name had in common, be that the background, the light or the clothes.",
    "On pictures of another kind than those it was checked on, it errs more often than the figures above say.",
    "These figures are of one training run. Their intervals allow for the choice of pictures and not for chance in "
    "training: with another seed the same pictures give another network, and other figures.",
]


def error_in_words(error):
    """An `error_figure` as "1 of 180 (0.6%, with 95 % confidence between 0.1% and 3.1%)"."""
    low, high = error["interval"]
    confidence = f"with 95 % confidence between {low:.1%} and {high:.1%}"
    return f"{error['errors']} of {error['photos']} ({error['rate']:.1%}, {confidence})"


def _calibration_in_words(figures):
    before = f"Its probabilities were off by {figures['before']:.1%} on average, on {figures['photos']} pictures"
    if "after" not in figures:
        return f"{before}, and were left so: {figures['reason']}."
    return f"{before}, and by {figures['after']:.1%} after dividing the scores by {figures['temperature']:.2f}."


def _familiarity_in_words(figures):
    if "reason" in figures:
        return f"It cannot tell when a picture shows something else: {figures['reason']}."
    kept = f"It took {figures['kept']} of {figures['photos']} pictures of its names for known"
    if "auroc" not in figures:
        return f"{kept}; how well it spots other things was not measured."
    low, high = figures["interval"]
    refused = f"{figures['refused']} of {figures['others']} pictures of other things for something else"
    return f"{kept}, and {refused} (AUROC {figures['auroc']:.3f}, with 95 % confidence {low:.3f} to {high:.3f})."


def twin_in_words(twin):
    words = ""
    if "difference" in twin:
        words = f"In fp32 its probabilities differ from the pickle's by at most {twin['difference']:.0e}."
    if int8 := twin.get("int8"):
        words += f" In int8 it gives the same name as in fp32 to {int8['same']:.1%} of {int8['photos']} pictures, with "
        words += f"probabilities that differ by {int8['difference']:.4f} on average."
    return words


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
