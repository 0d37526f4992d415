"""Say whether two models differ at all, from what their cards hold."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import IconClassifierError
from .card_text import error_in_words
from .statistics import mcnemar, newcombe_interval

SIGNIFICANT = 0.05  # p-values below this count as a difference; it corresponds to the intervals' 95 %


class CompareError(IconClassifierError, ValueError):
    """Two cards cannot be compared; the message says why in a sentence."""


@dataclass(frozen=True)
class Comparison:
    """Whether model a errs more or less often than model b; as a string, a sentence.

    differ: whether there is a difference, as far as these photos can tell.
    difference: a's error rate minus b's.
    interval: the 95 % interval of `difference` (Newcombe's), where the models were asked about different photos.
    p_value: of McNemar's exact test, where both were asked about the same photos; `only_a` and `only_b` of them only
        the one got wrong, and only the other.
    """

    differ: bool
    difference: float
    sentence: str
    interval: tuple | None = None
    p_value: float | None = None
    only_a: int | None = None
    only_b: int | None = None

    def __str__(self):
        return self.sentence


def compare(card_a, card_b):
    """Return the `Comparison` of two `Card`s by their errors on validation photos; raises `CompareError`.

    The same photos are compared pair by pair (McNemar's exact test), which tells smaller differences apart; different
    ones as two independent samples (Newcombe's interval).
    """
    for name, card in (("first", card_a), ("second", card_b)):
        if "error" not in card.figures:
            raise CompareError(f"The {name} card does not say how often its model errs. Train it with train.ipynb.")
    if set(card_a.labels) != set(card_b.labels):
        raise CompareError(
            f"These models know different labels ({', '.join(card_a.labels)} and {', '.join(card_b.labels)}), so their "
            "errors cannot be compared. Compare models of the same labels."
        )
    pair = [card.figures.get("marks") for card in (card_a, card_b)]
    if all(pair) and pair[0]["photos_sha256"] == pair[1]["photos_sha256"]:
        return _compare_same_photos(card_a.figures, card_b.figures)
    basis = (
        "They were asked about different photos" if all(pair) else "A card does not say which photos it was asked about"
    )
    return _compare_samples(card_a.figures["error"], card_b.figures["error"], basis)


def _compare_same_photos(a, b):
    wrong_a, wrong_b = (_wrong(figures["marks"], figures["error"]["photos"]) for figures in (a, b))
    only_a, only_b = len(wrong_a - wrong_b), len(wrong_b - wrong_a)
    p_value = mcnemar(only_a, only_b)
    differ = p_value < SIGNIFICANT
    photos = a["error"]["photos"]
    counts = f"on the same {photos} validation photos a is wrong on {len(wrong_a)} and b on {len(wrong_b)}"
    basis = f"{only_a} only by a and {only_b} only by b; McNemar's exact test, p = {p_value:.2g}"
    return Comparison(
        differ, a["error"]["rate"] - b["error"]["rate"],
        f"{_verdict(differ, len(wrong_a) < len(wrong_b))} {counts} ({basis}).",
        p_value=p_value, only_a=only_a, only_b=only_b,
    )  # fmt: skip


def _compare_samples(a, b, basis):
    low, high = newcombe_interval(a, b)
    differ = low > 0 or high < 0
    sentence = (
        f"{_verdict(differ, high < 0)} a is wrong on {error_in_words(a)}, b on {error_in_words(b)}; the difference is "
        f"{_points(a['rate'] - b['rate'])} percentage points, with 95 % confidence between {_points(low)} and "
        f"{_points(high)}. {basis}, so this allows for two choices of photos."
    )
    return Comparison(differ, a["rate"] - b["rate"], sentence, interval=(low, high))


def _verdict(differ, a_is_better):
    if not differ:
        return "No difference can be told between a and b:"
    return f"Model {'a' if a_is_better else 'b'} errs less often:"


def _points(share):
    return f"{100 * share:+.1f}"


def marks_figure(files, labels, right):
    """Return which validation photos a model got right, compactly and without naming them; None for other items.

    files, labels, right: a path, a label and a truth value per photo. Photos are known by their bytes and their label,
    so that two trainings on copies of the same folder compare. The dict holds `photos_sha256`, which is the same for
    the same photos, and `right`, one bit per photo in the order of the photos' hashes, in base64.
    """
    rows = []
    for file, label, good in zip(files, labels, right, strict=True):
        if not isinstance(file, (str, Path)):
            return None
        rows.append((hashlib.sha256(Path(file).read_bytes()).hexdigest(), str(label), bool(good)))
    rows.sort()
    photos = "".join(f"{sha256} {label}\n" for sha256, label, _ in rows)
    bits = int("1" + "".join(str(int(good)) for *_, good in rows), 2)  # the first 1 keeps zeros at the start
    packed = bits.to_bytes((bits.bit_length() + 7) // 8)
    return {
        "photos_sha256": hashlib.sha256(photos.encode()).hexdigest(),
        "right": base64.b64encode(packed).decode(),
    }


def read_marks(right, photos):
    """Return `right` of a `marks_figure` as a list of `photos` truth values; raises ValueError if it does not fit."""
    bits = f"{int.from_bytes(base64.b64decode(right, validate=True)):b}"
    if len(bits) != photos + 1:
        raise ValueError(f"{len(bits) - 1} marks for {photos} photos")
    return [bit == "1" for bit in bits[1:]]


def _wrong(marks, photos):
    return {i for i, right in enumerate(read_marks(marks["right"], photos)) if not right}
