"""Test whether the errors of two models differ significantly, from the figures on their cards."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import IconClassifierError
from .card_text import error_in_words
from .statistics import mcnemar, newcombe_interval

SIGNIFICANCE_LEVEL = 0.05  # p-values below it count as a difference; it corresponds to 95% intervals


class CompareError(IconClassifierError, ValueError):
    """Two cards cannot be compared; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of the errors of two models, a and b; `str` returns it as a sentence.

    differ: True if the difference is significant.
    difference: the error rate of a minus that of b.
    interval: Newcombe's 95% interval of `difference`, if the models were measured on different photos.
    p_value: of McNemar's exact test, if both models were measured on the same photos.
    only_a, only_b: the numbers of these photos that only a misclassified, and only b.
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

    Errors on the same photos are paired (McNemar's exact test), which detects smaller differences. Errors on different
    photos are compared as two independent samples (Newcombe's interval).
    """
    for name, card in (("first", card_a), ("second", card_b)):
        if "error" not in card.figures:
            raise CompareError(f"The {name} card holds no error rate. Train the model again with train.ipynb.")
    if set(card_a.labels) != set(card_b.labels):
        raise CompareError(
            f"These models have different labels ({', '.join(card_a.labels)} and {', '.join(card_b.labels)}), so their "
            "errors cannot be compared. Choose two models with the same labels."
        )
    pair = [card.figures.get("marks") for card in (card_a, card_b)]
    if all(pair) and pair[0]["photos_sha256"] == pair[1]["photos_sha256"]:
        return _compare_same_photos(card_a.figures, card_b.figures)
    basis = (
        "They were measured on different photos" if all(pair) else "A card does not say which photos it was measured on"
    )
    return _compare_samples(card_a.figures["error"], card_b.figures["error"], basis)


def before_and_after(before, after):
    """Return the `Comparison` of the errors before (a) and after (b) a review; raises `CompareError`.

    before, after: {validation photo: whether it was misclassified}. Only photos in both count, because a review can
    exclude some. They are compared by McNemar's exact test.
    """
    photos = before.keys() & after.keys()
    if not photos:
        raise CompareError(
            "No validation photo was measured both before and after the review. Keep the split, and measure again."
        )
    gone = sum(before[photo] and not after[photo] for photo in photos)
    new = sum(after[photo] and not before[photo] for photo in photos)
    wrong = [sum(bool(errors[photo]) for photo in photos) for errors in (before, after)]
    p_value = mcnemar(gone, new)
    differ = p_value < SIGNIFICANCE_LEVEL
    verdict = "The errors before and after do not differ significantly"
    if differ:
        verdict = f"The error is {'lower' if new < gone else 'higher'} than before"
    sentence = (
        f"{verdict}: of the same {len(photos)} validation photos, {wrong[0]} were misclassified before and {wrong[1]} "
        f"after (errors gone: {gone}, new: {new}; McNemar's exact test, p = {p_value:.2g})."
    )
    if left_out := len(before.keys() | after.keys()) - len(photos):
        sentence += f" Left out, because they were measured only once: {left_out}."
    rate = (wrong[0] - wrong[1]) / len(photos)
    return Comparison(differ, rate, sentence, p_value=p_value, only_a=gone, only_b=new)


def _compare_same_photos(a, b):
    wrong_a, wrong_b = (_wrong(figures["marks"], figures["error"]["photos"]) for figures in (a, b))
    only_a, only_b = len(wrong_a - wrong_b), len(wrong_b - wrong_a)
    p_value = mcnemar(only_a, only_b)
    differ = p_value < SIGNIFICANCE_LEVEL
    photos = a["error"]["photos"]
    counts = f"of the same {photos} validation photos, a misclassified {len(wrong_a)} and b {len(wrong_b)}"
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
        f"{_points(a['rate'] - b['rate'])} percentage points, with 95% confidence between {_points(low)} and "
        f"{_points(high)}. {basis}, so the interval covers the choice of both samples."
    )
    return Comparison(differ, a["rate"] - b["rate"], sentence, interval=(low, high))


def _verdict(differ, a_is_better):
    if not differ:
        return "The difference between a and b is not significant:"
    return f"Model {'a' if a_is_better else 'b'} errs less often:"


def _points(share):
    return f"{100 * share:+.1f}"


def marks_figure(files, labels, right):
    """Return which validation photos a model classified correctly, without their names; None for items without files.

    files, labels, right: a path, a label and a bool per photo. Photos are identified by their bytes and their label, so
    that models trained on copies of the same folder can be compared. The dict holds `photos_sha256`, which is the same
    for the same photos, and `right`, one bit per photo in the order of the photos' hashes, in base64.
    """
    rows = []
    for file, label, good in zip(files, labels, right, strict=True):
        if not isinstance(file, (str, Path)):
            return None
        rows.append((hashlib.sha256(Path(file).read_bytes()).hexdigest(), str(label), bool(good)))
    rows.sort()
    photos = "".join(f"{sha256} {label}\n" for sha256, label, _ in rows)
    bits = int("1" + "".join(str(int(good)) for *_, good in rows), 2)  # the leading 1 preserves leading zeros
    packed = bits.to_bytes((bits.bit_length() + 7) // 8)
    return {
        "photos_sha256": hashlib.sha256(photos.encode()).hexdigest(),
        "right": base64.b64encode(packed).decode(),
    }


def read_marks(right, photos):
    """Return `right` of a `marks_figure` as a list of bools; raises ValueError unless its length is `photos`."""
    bits = f"{int.from_bytes(base64.b64decode(right, validate=True)):b}"
    if len(bits) != photos + 1:
        raise ValueError(f"{len(bits) - 1} marks for {photos} photos")
    return [bit == "1" for bit in bits[1:]]


def _wrong(marks, photos):
    return {i for i, right in enumerate(read_marks(marks["right"], photos)) if not right}
