"""Test the chapters 05: linear heads on synthetic features, test folders, and the size of the OOD detector."""

import hashlib
import shutil
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fastai.vision import all as fv
from PIL import Image
from torch import nn

from icon_classifier.dataset.exclude import exclude, relabel
from icon_classifier.dataset.split import GroupSplitter
from icon_classifier.model.card import Card, sha256_of
from icon_classifier.model.classifier import load_classifier
from icon_classifier.model.statistics import error_figure
from icon_classifier.training.early_look import (
    cross_validate,
    early_look,
    head_probabilities,
    out_of_sample,
    show_suspicious,
    stratified_folds,
)
from icon_classifier.training.export import add_figures
from icon_classifier.training.features import FrozenFeatures, MeasureError, _scaled, frozen_features
from icon_classifier.training.gather import gather_from
from icon_classifier.training.learning_curve import _expected_error, learning_curve
from icon_classifier.training.ood import MAX_OOD_NUMBERS, _summarize
from icon_classifier.training.review import BeforeAndAfter
from icon_classifier.training.test_folder import measure_test, read_test_folder


def synthetic(counts, spread, seed=0, size=40, train_share=0.8):
    """Return features of `counts` photos per label, normally distributed around a centre per label, in random order."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = rng.normal(size=(len(counts), size))
    values = _scaled(centres[targets] + spread * rng.normal(size=(len(targets), size)))
    labels = tuple(f"label {i}" for i in range(len(counts)))
    items = [f"{i}.jpg" for i in range(len(targets))]
    return FrozenFeatures(items, targets, values, int(len(targets) * train_share), labels, True)


def test_folds_are_stratified():
    """The sizes of the folds differ by at most one, in total and per label."""
    targets = np.repeat(np.arange(4), (23, 10, 4, 1))
    fold = stratified_folds(targets, 5, np.random.default_rng(0))
    assert np.ptp(np.bincount(fold, minlength=5)) <= 1
    for label in range(4):
        assert np.ptp(np.bincount(fold[targets == label], minlength=5)) <= 1


def test_copies_are_in_one_fold():
    """The folds stay stratified: as equal as the sizes of the groups allow."""
    rng = np.random.default_rng(0)
    targets, groups = rng.integers(0, 3, 300), rng.integers(0, 120, 300)
    fold = stratified_folds(targets, 5, rng, groups)
    assert all(len(set(fold[groups == group])) == 1 for group in np.unique(groups))
    assert np.bincount(fold, minlength=5).min() >= 50
    assert all(np.bincount(fold[targets == label], minlength=5).min() >= 12 for label in range(3))
    assert sorted(np.bincount(stratified_folds(targets[:10], 5, rng, np.ones(10)))) == [2] * 5  # copies of one photo


def test_copies_do_not_teach_a_head_the_label():
    """With random labels the error is that of guessing, although each photo is there twice, with one label."""
    features = synthetic([100, 100], spread=1, size=150)
    twice = np.tile(np.arange(200), 2)
    features.targets = np.random.default_rng(1).permutation(features.targets)[twice]
    features.items, features.values = [f"{i}.jpg" for i in range(400)], features.values[twice]
    assert cross_validate(features)["rate"] < 0.2  # if nobody says which photos are copies
    features.groups = twice
    assert 0.4 < cross_validate(features)["rate"] < 0.65
    assert learning_curve(features, folds=5)["points"][-1]["rate"] > 0.4


def test_copies_do_not_hide_a_wrong_label():
    """Each mislabelled photo is there twice, with the same wrong label. Of six seeds the worst found 80 %.

    In different folds, each copy would vouch for the other: 18 to 30 %.
    """
    found = []
    for seed in range(3):
        features = synthetic([100, 100, 100], spread=6, seed=seed, size=400)
        wrong = np.random.default_rng(seed).permutation(300)[:30]
        features.targets[wrong] = (features.targets[wrong] + 1) % 3
        twice = np.append(np.arange(300), wrong)
        features.items, features.groups = [f"{i}.jpg" for i in range(330)], twice
        features.targets, features.values = features.targets[twice], features.values[twice]
        first = early_look(features).photos.item[:72]
        found.append(len(set(first) & {features.items[i] for i in [*wrong, *range(300, 330)]}) / 60)
    assert min(found) >= 0.6, found


def test_no_photo_is_predicted_by_a_head_trained_on_it():
    """With random labels the cross-validated error is that of guessing, although a head fits its training photos."""
    features = synthetic([150, 150], spread=1)
    features.targets = np.random.default_rng(1).permutation(features.targets)
    everything = np.arange(300)
    assert (head_probabilities(features, everything, everything).argmax(1) == features.targets).mean() > 0.6
    assert 0.4 < cross_validate(features)["rate"] < 0.65


def test_cross_validation_pools_all_photos():
    found = cross_validate(synthetic([40, 40, 40], spread=0.3), k=4)
    assert found == {**error_figure(0, 120), "folds": 4, "pretrained": True}
    probabilities = out_of_sample(synthetic([40, 40, 40], spread=2))
    assert probabilities.shape == (120, 3) and np.allclose(probabilities.sum(1), 1)


def test_mislabelled_photos_are_suspicious():
    """Of nine mislabelled photos in ninety nearly all are found, with few others, the most suspicious first."""
    features = synthetic([30, 30, 30], spread=0.8)
    wrong = np.random.default_rng(3).choice(90, 9, replace=False)
    features.targets[wrong] = (features.targets[wrong] + 1) % 3
    look = early_look(features)
    suspicious = look.photos[look.photos.suspicious]
    mislabelled = {features.items[i] for i in wrong}
    assert len(mislabelled & set(suspicious.item)) >= 7 and len(suspicious) <= 12
    assert set(look.photos.item) == set(features.items) and list(look.photos.item[:5]) == list(suspicious.item[:5])
    row = look.photos.iloc[0]
    at = features.items.index(row["item"])
    assert row.label == features.labels[features.targets[at]] and row.predicted != row.label
    assert row.own == look.probabilities[at, features.targets[at]] and row.probability == look.probabilities[at].max()
    assert row.margin == pytest.approx(row.own - row.probability)
    sentence = f"linear head on the features of a pretrained network is {look.error['errors']} of 90"
    assert sentence in str(look) and f"{len(suspicious)} photos look mislabelled" in str(look)
    assert "No photo looks mislabelled" in str(early_look(synthetic([20, 20], spread=0.1)))


def test_suspicious_photos_are_shown_with_their_prediction(photos):
    """Two blue images are labelled red: both are drawn, and the other axes stay empty."""
    features = synthetic([10, 10], spread=0.3)
    features.labels = ("blue", "red")
    files = {i: iter(sorted((photos / label).iterdir())) for i, label in enumerate(features.labels)}
    features.items = [next(files[target]) for target in features.targets]
    features.targets[np.flatnonzero(features.targets == 0)[:2]] = 1
    plt.close("all")
    show_suspicious(early_look(features))
    drawn = [ax for ax in plt.gcf().axes if ax.images]
    assert len(drawn) == 2 and not any(ax.axison for ax in plt.gcf().axes)
    for ax in drawn:
        assert ax.get_title().startswith("red?\nblue: ")
        red, _, blue = ax.images[0].get_array().mean((0, 1))
        assert blue > red
    plt.close("all")


@pytest.mark.parametrize("folds", [0, 5])
def test_learning_curve_shows_whether_photos_help(folds):
    """With a hundred clusters more photos help. With two overlapping clusters in one dimension they do not."""
    subjects = synthetic([4] * 100, spread=0.2, size=150)
    subjects.targets = subjects.targets % 2
    subjects.labels = ("even", "odd")
    steep = learning_curve(subjects, folds)
    assert steep["interval"][0] > 0 and steep["expected"] < steep["points"][2]["rate"] < steep["points"][0]["rate"]
    flat = synthetic([300, 300], spread=1, size=1)
    flat.values = np.random.default_rng(0).normal(size=(600, 1)) + flat.targets[:, None]
    flat = learning_curve(flat, folds)
    assert flat["interval"][0] < 0.01 and flat["interval"][1] < 0.08 and flat["points"][2]["rate"] > 0.2
    share = 0.8
    assert [point["photos"] for point in flat["points"]] == pytest.approx(
        [150 * share, 300 * share, 600 * share], abs=2
    )
    assert flat["photos"] == (600 if folds else 120) and [p["subsets"] for p in flat["points"]] == [5, 5, 1]
    for point in (*steep["points"], *flat["points"]):
        assert point["interval"][0] < point["rate"] < point["interval"][1]


def test_expected_error_follows_the_power_law():
    def expected(*rates):
        return _expected_error([{"rate": rate} for rate in rates])

    assert expected(0.16, 0.08, 0.04) == pytest.approx(0.02)
    assert expected(0.1, 0.1, 0.1) == 0.1 and expected(0.1, 0.1, 0.2) == 0.2 and expected(0, 0, 0) == 0


@pytest.mark.parametrize("counts", [[30, 1], [30], [5] * 40, [2, 2], [30, 0, 20]])
def test_measures_labels_with_few_photos(counts):
    features = synthetic(counts, spread=0.2)
    look = early_look(features)
    assert look.error["photos"] == sum(counts) and len(look.photos) == sum(counts)
    assert len(learning_curve(features, folds=5)["points"]) == 3
    if counts == [30, 1]:  # a head that predicts the only photo of a label was not trained on that label
        assert look.error["errors"] >= 1


def test_rejects_learning_curve_without_validation_photos():
    with pytest.raises(MeasureError, match="no validation photos"):
        learning_curve(synthetic([10, 10], spread=1, train_share=1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Write ten red and ten blue images."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir()
        for i in range(10):
            pixels = rng.integers(0, 100, (32, 32, 3), np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture
def learn(photos):
    return learner(photos, fv.RandomSplitter(0.2, seed=0))


def learner(photos, splitter):
    """Return an untrained learner with a small network."""
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock), get_items=fv.get_image_files, get_y=fv.parent_label,
        splitter=splitter, item_tfms=fv.Resize(32),
    )  # fmt: skip
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    model = nn.Sequential(body, nn.Sequential(fv.AdaptiveConcatPool2d(), nn.Flatten(), nn.Linear(16, 2)))
    return fv.Learner(block.dataloaders(photos, bs=4, num_workers=0), model, loss_func=fv.CrossEntropyLossFlat())


def test_features_are_in_the_order_of_the_photos(learn):
    """Training photos come first, missing files are left out, and the network is not changed."""
    before = {key: value.clone() for key, value in learn.model.state_dict().items()}
    features = frozen_features(learn)
    assert features.n_train == 16 and features.items == [*learn.dls.train_ds.items, *learn.dls.valid_ds.items]
    assert [features.labels[t] for t in features.targets] == [item.parent.name for item in features.items]
    assert features.values.shape == (20, 16) and not features.pretrained
    assert all((value == before[key]).all() for key, value in learn.model.state_dict().items())
    assert early_look(learn).error["errors"] == 0
    gone = learn.dls.train_ds.items[3]
    moved = gone.rename(gone.with_suffix(".gone"))
    try:
        assert frozen_features(learn).items == [item for item in features.items if item != gone]
    finally:
        moved.rename(gone)


def test_features_know_which_photos_are_copies(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(folder / "red/0.png", folder / "red/copy.png")
    features = frozen_features(learner(folder, fv.RandomSplitter(0.2, seed=0)))
    names = [f"{item.parent.name}/{item.name}" for item in features.items]
    same = features.groups == features.groups[names.index("red/copy.png")]
    assert {name for name, is_same in zip(names, same, strict=True) if is_same} == {"red/0.png", "red/copy.png"}
    assert len(set(features.groups)) == 20


def test_models_before_and_after_a_review_are_compared_on_all_photos_they_share(photos, tmp_path):
    """The first model is compared as it was after training, although photos have moved since."""
    dataset = tmp_path / "dataset"
    gather_from(photos, dataset)
    learn = learner(dataset, GroupSplitter())
    shutil.copy(learn.dls.valid_ds.items[0], learn.dls.valid_ds.items[0].with_name("copy.jpg"))  # the same bytes
    learn, predictions = learner(dataset, GroupSplitter()), BeforeAndAfter()
    predictions.take(learn)
    number = len(learn.dls.valid_ds)
    assert number == len(predictions.after) == 5 and "first model" in str(predictions)
    first = dict(predictions.after)
    moved, gone = [file for file in learn.dls.valid_ds.items if file.name != "copy.jpg"][1:3]
    relabel(moved, "red" if moved.parent.name == "blue" else "blue")
    exclude(dataset, [gone])
    predictions.take(learn)  # the cell is run again
    assert predictions.after == first and predictions.before is None
    predictions.take(learner(dataset, GroupSplitter()))
    assert predictions.before == first and len(predictions.after) == number - 1
    assert f"of the same {number - 1} validation photos" in str(predictions)
    assert "measured only once: 1" in str(predictions)
    labels = [found[sha256_of(next(dataset.glob(f"*/{moved.name}"))), 0][0] for found in (first, predictions.after)]
    assert set(labels) == {"red", "blue"}
    predictions.take(learner(photos, fv.RandomSplitter(0.2, seed=0)))
    assert "No validation photo was measured both before and after" in str(predictions)


def test_rejects_trained_network(learn):
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    for call in (frozen_features, early_look, cross_validate, learning_curve):
        with pytest.raises(MeasureError, match=r"trained on these photos.*Create it again"):
            call(learn)


class ColourClassifier:
    """A classifier that predicts the colour of an image from its mean."""

    labels = ("blue", "red")

    def predict(self, image):
        from icon_classifier.images import open_image

        red, _, blue = np.asarray(open_image(image)).mean((0, 1))
        return SimpleNamespace(label="red" if red > blue else "blue")


def test_test_folder_is_measured(photos, tmp_path):
    """Nested folders belong to their label. Unreadable photos and those used in training are counted, not as errors."""
    folder = tmp_path / "test"
    shutil.copytree(photos / "red", folder / "red/deep")
    shutil.copytree(photos / "blue", folder / "blue")
    shutil.copy(photos / "red/0.png", folder / "blue/wrong.png")
    (folder / "blue/bad.jpg").write_bytes(b"<html>")
    found = measure_test(ColourClassifier(), folder)
    assert found == {**error_figure(1, 21), "unreadable": 1, "seen": 0}
    dataset = tmp_path / "dataset/valid/blue"
    dataset.mkdir(parents=True)
    seen = hashlib.sha256((photos / "blue/3.png").read_bytes()).hexdigest()
    (dataset / f"{seen[:16]}.jpg").touch()
    assert measure_test(ColourClassifier(), folder, tmp_path / "dataset") == {
        **error_figure(1, 20),
        "unreadable": 1,
        "seen": 1,
    }


def test_rejects_unsuitable_test_folders(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "test")
    (tmp_path / "test/red").rename(tmp_path / "test/green")
    with pytest.raises(MeasureError, match=r"test has folders named green, but .* are blue, red\. Rename"):
        measure_test(ColourClassifier(), tmp_path / "test")
    with pytest.raises(MeasureError, match="There is no test folder"):
        read_test_folder(tmp_path / "none", ColourClassifier.labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MeasureError, match="contains no photos"):
        measure_test(ColourClassifier(), tmp_path / "empty")
    (tmp_path / "bad/red").mkdir(parents=True)
    (tmp_path / "bad/red/1.jpg").write_bytes(b"no image")
    with pytest.raises(MeasureError, match="no photo to measure on: 1 cannot be read"):
        measure_test(ColourClassifier(), tmp_path / "bad")


def test_test_figure_is_added_to_the_card(site, tmp_path):
    """The validation photos as a test folder give the same error as on the card."""
    shutil.copytree(site / "export", tmp_path / "export")
    shutil.copytree(site / "photos/sample/valid", tmp_path / "test")
    classifier = load_classifier(tmp_path / "export/export.pkl")
    found = measure_test(classifier, tmp_path / "test")
    assert found["errors"] == pytest.approx(classifier.card.figures["error"]["errors"], abs=2)  # int8 may differ
    before = {file.name for file in (tmp_path / "export").iterdir()}
    card = add_figures(tmp_path / "export", test=found)
    assert Card.read(tmp_path / "export/card.json") == card and card.figures["test"] == found
    assert "On the test folder" in (tmp_path / "export/model_card.md").read_text()
    assert {file.name for file in (tmp_path / "export").iterdir()} == before
    assert load_classifier(tmp_path / "export/export.pkl").card == card


def test_ood_detector_keeps_to_its_size():
    """Only the first layer has the lengths of its features, which are included in the size."""
    layers = [torch.randn(2000, 512), torch.randn(2000, 2048)]  # as many photos as are kept at most
    found = _summarize(layers)
    assert [sorted(layer) for layer in found] == [["lengths", "photos", "projection"], ["photos", "projection"]]
    numbers = sum(tensor.numel() for layer in found for tensor in layer.values())
    assert 0.98 * MAX_OOD_NUMBERS < numbers <= MAX_OOD_NUMBERS
    assert torch.allclose(found[0]["lengths"].sort().values, layers[0].norm(dim=1).sort().values)
