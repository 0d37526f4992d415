"""Test card.py, card_text.py and statistics.py: a round trip, refusal of damaged cards, and correct intervals."""

import json
from dataclasses import replace

import numpy as np
import pytest

from icon_classifier.model.card import Card, CardError, sha256_of
from icon_classifier.model.card_text import facts, in_words, model_card
from icon_classifier.model.statistics import auroc_interval, error_figure

SHARE = {"share": 0.956, "share_interval": [0.91, 0.99]}
CARD = Card(
    labels=("bell", "Beyoncé"),
    preprocessing={"resize": "RandomResizedCrop", "size": [48, 48], "resample": 2, "div": 255.0, "val_xtra": 0.14},
    figures={"error": error_figure(6, 90)},
    training={"epochs": 4, "made": "2026-11-22"},
    versions={"fastai": "2.8"},
    sha256="0" * 64,
    examples={"bell": "AAEC"},
)


def test_card_is_written_and_read(tmp_path):
    CARD.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == CARD
    assert [file.name for file in tmp_path.iterdir()] == ["card.json"]
    assert CARD.images() == [("bell", b"\0\1\2")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda card: "",
        lambda card: json.dumps(card)[:-5],
        lambda card: "[]",
        lambda card: json.dumps({**card, "format": 99}),
        lambda card: json.dumps({**card, "labels": []}),
        lambda card: json.dumps({**card, "labels": "bell"}),
        lambda card: json.dumps({**card, "onnx": "bell"}),
        lambda card: json.dumps({**card, "onnx": {}}),
        lambda card: json.dumps({**card, "onnx": {"sha256": "0"}, "preprocessing": None}),
        lambda card: json.dumps({key: value for key, value in card.items() if key != "sha256"}),
        lambda card: json.dumps({**card, "figures": {"error": 7}}),
        lambda card: json.dumps({**card, "figures": []}),
        lambda card: json.dumps({**card, "training": {"epochs": 3}}),
        lambda card: json.dumps({**card, "examples": {"bell": "no base64!"}}),
        lambda card: json.dumps({**card, "examples": ["bell"]}),
        lambda card: b"\xff\xfe\x00",
        lambda card: "[" * 100_000,
        lambda card: json.dumps({**card, "examples": None}),
        lambda card: json.dumps({**card, "versions": ["fastai"]}),
        lambda card: json.dumps({**card, "preprocessing": {"resize": "RandomResizedCrop"}}),
        lambda card: json.dumps({**card, "preprocessing": {**card["preprocessing"], "size": [48, "48"]}}),
        lambda card: json.dumps({**card, "preprocessing": {**card["preprocessing"], "resize": "crop!"}}),
        lambda card: json.dumps({**card, "preprocessing": {**card["preprocessing"], "mean": [0, 0, 0]}}),
        lambda card: json.dumps({**card, "figures": {"error": {**card["figures"]["error"], "interval": [0.1]}}}),
        lambda card: json.dumps({**card, "figures": {"error": {**card["figures"]["error"], "errors": True}}}),
        lambda card: json.dumps({**card, "figures": {"calibration": {"photos": 9, "before": 0.1}}}),
        lambda card: json.dumps({**card, "figures": {"ood": {"photos": 9, "kept": 8, **SHARE, "auroc": 0.9}}}),
        lambda card: json.dumps({**card, "onnx": {"sha256": "0", "int8": {}}}),
    ],
)
def test_damaged_card_is_refused_with_a_reason(tmp_path, damage):
    path = tmp_path / "card.json"
    CARD.write(path)
    hurt = damage(json.loads(path.read_text()))
    path.write_bytes(hurt if isinstance(hurt, bytes) else hurt.encode())
    with pytest.raises(CardError, match=r"card\.json .*\."):
        Card.read(path)


def test_facts_give_their_data():
    """Each figure comes with its number of photos; unknown figures are left out, or their reason is given."""
    text = "\n".join(facts(CARD))
    assert "6 of 90 (6.7%, with 95% confidence between 3.1% and 13.8%)" in text and "None" not in text
    told = replace(
        CARD,
        figures={
            "calibration": {"temperature": 1.7, "photos": 90, "before": 0.12, "after": 0.05},
            "ood": {"photos": 9, "reason": "too few"},
        },
    )
    calibration = "12.0% on 90 validation photos, and 5.0% after temperature scaling with temperature 1.70"
    assert calibration in facts(told)[-2]
    assert facts(told)[-1] == "It cannot detect pictures of something else: too few."
    bare = replace(CARD, figures={}, training={})
    assert len(facts(bare)) == 2 and "bell and Beyoncé" in facts(bare)[0] and "anything else" in facts(bare)[1]


def test_model_card_lists_existing_files():
    prose = model_card(CARD)
    assert prose.startswith("# bell and Beyoncé") and "![" not in prose and "export.onnx" not in prose
    onnx = {"sha256": "0", "precision": "int8", "difference": 1e-6}
    onnx["int8"] = {"same": 1.0, "difference": 0.001, "photos": 90}
    prose = model_card(replace(CARD, onnx=onnx), "matrix.png")
    assert "![The confusion matrix](matrix.png)" in prose and "same label as in fp32 for 100.0% of 90 " in prose


def test_error_names_the_field(tmp_path):
    CARD.write(tmp_path / "card.json")
    card = json.loads((tmp_path / "card.json").read_text())
    card["figures"]["error"]["rate"] = "6 %"
    (tmp_path / "card.json").write_text(json.dumps(card))
    sentence = (
        r"card\.json is damaged: figures\.error\.rate should be an integer or a decimal number\. Run the training"
    )
    with pytest.raises(CardError, match=sentence):
        Card.read(tmp_path / "card.json")


def test_missing_card_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        Card.read(tmp_path / "card.json")


@pytest.mark.parametrize(("errors", "photos"), [(6, 90), (1, 2), (0, 10), (180, 180)])
def test_error_figure_has_wilsons_bounds(errors, photos):
    """Wilson's bounds are the rates that are 1.96 standard errors away from the observed one."""
    figure = error_figure(errors, photos)
    assert figure["rate"] == errors / photos
    low, high = figure["interval"]
    assert 0 <= low <= figure["rate"] <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            distance = abs(bound - errors / photos) / (bound * (1 - bound) / photos) ** 0.5
            assert distance == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize(("errors", "photos"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_error_figure_rejects_invalid_counts(errors, photos):
    with pytest.raises(ValueError):
        error_figure(errors, photos)


def test_auroc_interval_matches_the_simulated_spread():
    """The interval matches the spread of AUROCs for exponential scores, for which Hanley and McNeil derived it."""
    rng = np.random.default_rng(0)
    negatives, positives = rng.exponential(1, (4000, 58, 1)), rng.exponential(5, (4000, 1, 51))
    drawn = (negatives < positives).mean((1, 2))
    low, high = auroc_interval(5 / 6, 58, 51)
    assert drawn.mean() == pytest.approx(5 / 6, abs=0.003)
    assert (high - low) / 2 == pytest.approx(1.96 * drawn.std(), rel=0.05)
    assert auroc_interval(1.0, 5, 5) == [1.0, 1.0] and auroc_interval(0.99, 5, 5)[1] == 1.0


def test_sha256_of_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_in_words_joins_labels():
    assert [in_words(labels) for labels in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("ood", "detects"),
    [
        (None, False),
        ({"photos": 90, "kept": 87, **SHARE}, False),
        ({"photos": 90, "kept": 87, **SHARE, "auroc": 0.7, "interval": [0.6, 0.8], "others": 50, "refused": 24}, False),
        ({"photos": 90, "kept": 87, **SHARE, "auroc": 0.9, "interval": [0.8, 1.0], "others": 50, "refused": 25}, True),
    ],
)
def test_detects_ood_needs_a_measurement_that_went_well(ood, detects):
    assert replace(CARD, figures={"ood": ood}).detects_ood() is detects
