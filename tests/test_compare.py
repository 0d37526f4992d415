"""Test statistics.py against published values and scipy, compare.py, and the figures of a card as text."""

import base64
import random

import numpy as np
import pytest
from scipy.stats import binomtest
from support.process import python

from icon_classifier.model.card import Card, CardError
from icon_classifier.model.card_text import facts, model_card
from icon_classifier.model.compare import CompareError, before_and_after, compare, marks_figure, read_marks
from icon_classifier.model.statistics import (
    error_figure,
    label_figures,
    mcnemar,
    newcombe_interval,
    paired_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("count", "total", "interval"),
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_interval_matches_published_values(count, total, interval):
    assert wilson_interval(count, total) == pytest.approx(interval, abs=6e-5)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (0, 7), (3, 7), (7, 7), (5, 3000)])
def test_wilson_interval_matches_scipy(count, total):
    expected = binomtest(count, total).proportion_ci(method="wilson") if total else (0, 1)
    assert wilson_interval(count, total) == pytest.approx(tuple(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "interval"),
    # Newcombe, "Interval estimation for the difference between independent proportions" (1998), table II, method 10
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_interval_matches_published_values(a, b, interval):
    assert newcombe_interval(error_figure(*a), error_figure(*b)) == pytest.approx(interval, abs=6e-5)


def test_newcombe_interval_is_antisymmetric():
    rng = random.Random(0)
    for _ in range(100):
        a, b = (error_figure(rng.randint(0, n), n) for n in (rng.randint(1, 200), rng.randint(1, 200)))
        low, high = newcombe_interval(a, b)
        assert -1 <= low <= a["rate"] - b["rate"] <= high <= 1
        assert newcombe_interval(b, a) == pytest.approx([-high, -low])


def test_mcnemar_matches_scipy():
    for only_a in range(0, 40, 3):
        for only_b in range(40):
            expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
            assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(3000, 3000) == 1


def test_paired_interval_has_the_stated_coverage():
    """About 95 of 100 intervals contain the true difference. If no photo differs, the interval is not empty."""
    rng = np.random.default_rng(0)
    for photos, share, true in [(60, (0.03, 0.02), 0.01), (60, (0.15, 0.05), 0.10), (300, (0.05, 0.05), 0.0)]:
        samples = rng.choice([1, -1, 0], (2000, photos), p=[*share, 1 - sum(share)])
        intervals = [paired_interval(sample.tolist())[1] for sample in samples]
        assert 0.92 < np.mean([low <= true <= high for low, high in intervals]) <= 1
    mean, (low, high) = paired_interval([0] * 60)
    assert mean == 0 and low == -high and 0.02 < high < 0.06
    assert paired_interval([0] * 60, spread=0.01)[1][1] > 0.19


def test_label_figures_count_per_label():
    """Three cats, of which one is predicted as a dog; two dogs; no owl."""
    found = label_figures([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], ["cat", "dog", "owl"])
    counts = {label: (f["photos"], f["predicted"], f["right"]) for label, f in found.items()}
    assert counts == {"cat": (3, 2, 2), "dog": (2, 3, 2), "owl": (0, 0, 0)}
    assert found["cat"]["recall"] == wilson_interval(2, 3) and found["cat"]["precision"] == wilson_interval(2, 2)
    assert found["owl"]["recall"] == [0, 1]


def card(errors, photos, marks=None, labels=("cat", "dog"), **figures):
    """Return a card with an error rate and other figures."""
    figures = {"error": error_figure(errors, photos), **figures, **({"marks": marks} if marks else {})}
    return Card(labels, None, figures, {}, {}, "0" * 64)


@pytest.fixture
def files(tmp_path):
    """Return the paths of forty files with different contents."""
    for i in range(40):
        (tmp_path / f"{i}.jpg").write_bytes(bytes([i]))
    return [tmp_path / f"{i}.jpg" for i in range(40)]


def marked(files, wrong):
    """Return the card of a model that misclassifies the files whose numbers are in `wrong`."""
    right = [int(file.stem) not in wrong for file in files]
    return card(len(wrong), len(files), marks_figure(files, ["cat"] * len(files), right))


def test_marks_depend_only_on_photos_and_labels(files, tmp_path):
    right = [i % 3 > 0 for i in range(40)]
    marks = marks_figure(files, ["cat"] * 40, right)
    assert sorted(read_marks(marks["right"], 40)) == sorted(right)
    (tmp_path / "copy").mkdir()
    copies = [file.rename(tmp_path / "copy" / f"other{file.name}") for file in files]
    assert marks_figure(copies[::-1], ["cat"] * 40, right[::-1]) == marks
    assert marks_figure(copies, ["dog"] * 40, right)["photos_sha256"] != marks["photos_sha256"]
    assert marks_figure(copies[1:], ["cat"] * 39, right[1:])["photos_sha256"] != marks["photos_sha256"]
    assert marks_figure([("an", "item")], ["cat"], [True]) is None
    assert len(marks_figure(copies * 100, ["cat"] * 4000, right * 100)["right"]) < 700


def test_same_photos_are_compared_by_mcnemar(files):
    better, worse = marked(files, set(range(10))), marked(files, set(range(16)))
    found = compare(better, worse)
    assert (found.only_a, found.only_b, found.p_value) == (0, 6, 2 / 2**6) and found.differ
    assert found.difference == pytest.approx(-6 / 40)
    assert str(found).startswith("Model a errs less often: of the same 40")
    assert str(compare(worse, better)).startswith("Model b errs less often:")
    near = compare(better, marked(files, set(range(1, 12))))
    assert not near.differ and (near.only_a, near.only_b) == (1, 2)
    assert str(near).startswith("The difference between a and b is not significant:")
    assert not compare(card(10, 40), card(16, 40)).differ  # the same figures are not significant as two samples


def test_different_photos_are_compared_as_two_samples(files):
    a, b = card(6, 90), card(30, 90, marked(files, {1}).figures["marks"])
    found = compare(a, b)
    assert found.differ and found.p_value is None
    assert found.interval == tuple(newcombe_interval(a.figures["error"], b.figures["error"]))
    assert "Model a errs less often: a is wrong on 6 of 90 (6.7%" in str(found)
    assert "difference is -26.7 percentage points, with 95% confidence between -37.5 and -15.3" in str(found)
    assert "A card does not say which photos it was measured on" in str(found)
    assert "They were measured on different photos" in str(compare(marked(files, {1}), marked(files[1:], {1})))
    assert str(compare(b, a)).startswith("Model b") and not compare(a, card(9, 90)).differ


def test_rejects_cards_that_cannot_be_compared():
    with pytest.raises(CompareError, match=r"different labels \(cat, dog and cat, owl\)"):
        compare(card(1, 9), card(1, 9, labels=("cat", "owl")))
    with pytest.raises(CompareError, match="second card holds no error rate"):
        compare(card(1, 9), Card(("cat", "dog"), None, {}, {}, {}, ""))


def test_compare_on_the_command_line(files, tmp_path):
    """Runs in the environment of the page; a card is given as a file and as a folder."""
    for name, wrong in (("a", {1}), ("b", {1, 2, 3, 4, 5, 6, 7})):
        (tmp_path / name).mkdir()
        marked(files, wrong).write(tmp_path / name / "card.json")

    def run(*args):
        return python("-m", "icon_classifier", "compare", *map(str, args), environment=".venv-page")

    found = run(tmp_path / "a/card.json", tmp_path / "b")
    assert found.returncode == 0 and "Model a errs less often" in found.stdout, found.stderr
    missing = run(tmp_path / "a", tmp_path / "none.json")
    assert missing.returncode == 2
    assert missing.stderr == f"icon-classifier: there is no {tmp_path}/none.json. Check the path.\n"


CURVE = {
    "photos": 60, "gain": 0.05, "interval": [0.01, 0.09], "expected": 0.055, "pretrained": True,
    "points": [
        {"photos": n, "subsets": 8, "rate": rate, "interval": [rate - 0.02, rate + 0.04]}
        for n, rate in ((60, 0.15), (120, 0.12), (240, 0.07))
    ],
}  # fmt: skip
JUDGED = {
    "per_label": label_figures([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], ["cat", "dog"]),
    "learning_curve": CURVE,
    "cross_validation": {**error_figure(20, 300), "folds": 5, "pretrained": True},
    "test": {**error_figure(2, 50), "unreadable": 1, "seen": 2},
}


def test_figures_are_written_as_sentences(tmp_path):
    judged = card(1, 5, **JUDGED)
    judged.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == judged
    text = "\n".join(facts(judged))
    assert "On the test folder, which training did not use, it was wrong on 2 of 50 (4.0%, with 95%" in text
    assert " Photos skipped: 1 that could not be read and 2 that were used in training." in text
    assert "lowest recall is cat: it recognizes 2 of 3 (67%, between 21% and 94%)." in text
    assert (
        "Trained on 120 photos, a linear head on frozen features has an error of 12.0%, trained on 240 photos 7.0%"
        in text
    )
    assert "between 1.0 and 9.0. Twice as many photos may lower the error to about 5.5%." in text
    assert "In 5-fold cross-validation, a linear head on frozen features was wrong on 20 of 300 (6.7%" in text
    assert "| cat | 2 of 3 (67%, between 21% and 94%) | 2 of 2 (100%, between 34% and 100%) |" in model_card(judged)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([-0.01, 0.01], "would hardly help"), ([-0.03, 0.08], "too uncertain"), ([0.01, 0.02], "Twice as many")],
)
def test_learning_curve_sentence_follows_the_interval(interval, verdict):
    assert verdict in facts(card(0, 5, learning_curve={**CURVE, "interval": interval}))[-1]


def test_figures_of_untrained_features_are_left_out_of_the_text():
    judged = {key: {**JUDGED[key], "pretrained": False} for key in ("learning_curve", "cross_validation")}
    assert "linear head" not in "\n".join(facts(card(1, 5, **judged)))


@pytest.mark.parametrize(
    "damage",
    [
        {"per_label": {"cat": {"photos": 3}}},
        {"per_label": {"cat": 3}},
        {"learning_curve": {**CURVE, "points": [{}]}},
        {"learning_curve": {**CURVE, "points": CURVE["points"][:1]}},
        {"learning_curve": {**CURVE, "gain": "much"}},
        {"cross_validation": error_figure(1, 5)},
        {"test": error_figure(1, 5)},
        {"marks": {"photos_sha256": "0", "right": "no base64!"}},
        {"marks": {"photos_sha256": "0", "right": base64.b64encode(b"\x01\xff").decode()}},
    ],
)
def test_rejects_damaged_figures(tmp_path, damage):
    card(0, 5, **damage).write(tmp_path / "card.json")
    with pytest.raises(CardError, match=r"card\.json is damaged: figures"):
        Card.read(tmp_path / "card.json")


def test_errors_before_and_after_a_review():
    """McNemar's test on the photos of both: 9 errors gone and 1 new have p = 0.021; 2 gone and 1 new are chance."""
    photos = [f"photo {i}" for i in range(40)]
    before = {photo: i < 9 for i, photo in enumerate(photos)}
    after = {photo: i == 39 for i, photo in enumerate(photos)} | {"another": True}
    found = before_and_after(before, after)
    assert found.differ and (found.only_a, found.only_b) == (9, 1) and f"{found.p_value:.3f}" == "0.021"
    assert found.difference == pytest.approx(8 / 40)
    assert str(found).startswith(
        "The error is lower than before: of the same 40 validation photos, 9 were misclassified before and 1 after "
        "(errors gone: 9, new: 1; McNemar's exact test, p = 0.021)."
    )
    assert str(found).endswith("Left out, because they were measured only once: 1.")
    assert str(before_and_after(after, before)).startswith("The error is higher than before")
    few = before_and_after({"a": True, "b": True, "c": False}, {"a": False, "b": False, "c": True})
    assert not few.differ and str(few).startswith("The errors before and after do not differ significantly")
    with pytest.raises(CompareError, match="No validation photo was measured both before and after"):
        before_and_after({"a": True}, {"b": True})
