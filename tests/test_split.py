"""Test dataset/split.py: duplicates stay on one side, every label is on both, and added photos move none back."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support.standin import textures

from icon_classifier.dataset.checks.photo import Photo, read_photos
from icon_classifier.dataset.manifest import KEPT, Manifest
from icon_classifier.dataset.review.decisions import EXCLUDE, KEEP, RELABEL, Review
from icon_classifier.dataset.split import (
    GroupSplitter,
    draw,
    in_words,
    leaked,
    leaks_in_words,
    linked_files,
    split_groups,
)
from icon_classifier.training.gather import gather_from
from icon_classifier.training.sample import LABELS, TRAIN_FAMILIES, make_sample, write_icons

NUMBER = st.integers(0, 29)


@st.composite
def datasets(draw_from):
    """Draw (labels, draws, pairs of duplicates) of up to 30 photos; photos of several labels can be duplicates."""
    labels = draw_from(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
    seed = draw_from(st.integers(0, 1000))
    pairs = draw_from(st.lists(st.tuples(NUMBER, NUMBER), max_size=20))
    draws = [draw(str(i), seed) for i in range(len(labels))]
    return labels, draws, [pair for pair in pairs if max(pair) < len(labels)]


def groups_of(number, pairs):
    """Return the groups of the first `number` photos."""
    i, j = np.array([pair for pair in pairs if max(pair) < number], dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(i), dtype=bool), (i, j)), shape=(number, number))
    return connected_components(graph, directed=False)[1]


@given(datasets(), st.lists(st.sampled_from(["", "train", "valid"]), min_size=30, max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_group_is_on_both_sides_and_labels_are(dataset, sides):
    """Whatever sides were recorded, and in whatever order the photos come."""
    labels, draws, pairs = dataset
    sides = sides[: len(labels)]
    groups = groups_of(len(labels), pairs)
    valid = split_groups(labels, draws, groups, sides)
    assert all(len(set(valid[groups == group])) == 1 for group in groups)
    where = np.array(labels)
    for label in set(labels):
        mine = groups[where == label]
        assert not valid[where == label].all()
        if len(set(mine)) > 1 and any(set(where[groups == group]) == {label} for group in mine):
            assert valid[where == label].any()
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    shuffled = split_groups(where[order], np.array(draws)[order], groups[order], np.array(sides)[order].tolist())
    assert (shuffled == valid[order]).all()


@given(datasets(), st.lists(NUMBER, max_size=4))
@settings(max_examples=200, deadline=None)
def test_added_photos_move_none_from_validation_to_training(dataset, ends):
    """In any batches, although they join groups. If all groups of a label were joined with validation, one has to."""
    labels, draws, pairs = dataset
    before = np.array([], dtype=bool)
    for end in sorted({min(end + 1, len(labels)) for end in ends} | {len(labels)}):
        groups = groups_of(end, pairs)
        sides = ["valid" if side else "train" for side in before] + [""] * (end - len(before))
        valid = split_groups(labels[:end], draws[:end], groups, sides)
        where = np.array(labels[:end])
        held = np.isin(groups, groups[: len(before)][before])  # in a group with a validation photo
        for i in np.flatnonzero(before & ~valid[: len(before)]):
            assert any(held[where == label].all() for label in where[groups == groups[i]])
        for i in np.flatnonzero(~before & valid[: len(before)]):
            assert held[i] or not held[where == labels[i]].any()
        before = valid


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_fifth_of_each_label_is_for_validation(seed, batches):
    """If groups are small, in each label, after each batch. One group holds half of a label: it is for training."""
    rng = np.random.default_rng(seed)
    labels, groups, sides = [], [], []
    for _ in range(batches):
        for label in "abc":
            sizes = rng.integers(1, 4, 45)
            ids = rng.permutation(np.repeat(np.arange(45) + max(groups, default=0) + 1, sizes))
            huge = [ids[0]] * 90 if label == "c" and not sides else []
            labels += [label] * (len(ids) + len(huge))
            groups += [*ids.tolist(), *map(int, huge)]
        draws = [draw(str(i), seed) for i in range(len(labels))]
        valid = split_groups(labels, draws, groups, sides + [""] * (len(labels) - len(sides)))
        assert all(abs(valid[np.array(labels) == label].mean() - 0.2) <= 0.05 for label in "abc")
        sides = np.where(valid, "valid", "train").tolist()


def test_joined_groups_are_for_validation():
    labels, draws = ["a"] * 10, [draw(str(i)) for i in range(10)]
    sides = ["train", "valid", *["train"] * 7, ""]
    valid = split_groups(labels, draws, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], sides)
    assert np.flatnonzero(valid).tolist() == [1, 9]  # of ten photos, two
    valid = split_groups(labels, draws, [0, 0, 2, 3, 4, 5, 6, 7, 8, 0], sides)
    assert np.flatnonzero(valid).tolist() == [0, 1, 9]


def test_two_hundred_labels_of_five_photos_are_on_both_sides():
    labels = [label for label in range(200) for _ in range(5)]
    valid = split_groups(labels, [draw(str(i)) for i in range(1000)], range(1000))
    assert {(label, side) for label, side in zip(labels, valid, strict=True)} == {
        (label, side) for label in range(200) for side in (False, True)
    }


def test_drawings_are_split_like_photos(tmp_path, capsys):
    """Drawings of one icon form chains of duplicates through half of them. Most are no copies."""
    write_icons(tmp_path, LABELS, TRAIN_FAMILIES, 150)
    files = sorted(tmp_path.glob("*/*"))
    _, valid = GroupSplitter()(files)
    shares = Counter(files[i].parent.name for i in valid)
    assert all(0.15 <= shares[label] / 150 <= 0.25 for label in LABELS), shares
    said = capsys.readouterr().out
    assert f"{len(valid)} of 450 photos (20%) are for validation. " in said and "is usual" not in said


def test_copies_are_linked_and_drawings_of_one_icon_are_not(tmp_path):
    """Re-encoded, smaller, cropped, grey, brighter, with more contrast, or mirrored."""
    write_icons(tmp_path, ["heart"], TRAIN_FAMILIES, 20)
    changes = (
        lambda image: image.resize((48, 48)),
        lambda image: image.crop((0, 1, 63, 64)),
        lambda image: image.convert("L"),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: ImageEnhance.Contrast(image).enhance(1.3),
        ImageOps.mirror,
    )
    files = sorted(tmp_path.glob("heart/*"))
    copies = [tmp_path / f"heart/{file.stem} {i}.jpg" for file in files for i in range(len(changes))]
    for n, copy in enumerate(copies):
        changes[n % len(changes)](Image.open(files[n // len(changes)])).save(copy, quality=80)
    groups = linked_files([*files, *copies])
    together = groups[len(files) :].reshape(len(files), len(changes)) == groups[: len(files), None]
    assert together.mean() > 0.97, together.mean(0)
    assert np.unique(groups, return_counts=True)[1].max() <= 3 * (1 + len(changes))


def test_the_sample_has_leaks_to_find(tmp_path):
    """Its copies are in training only. A random split would part some of them."""
    make_sample(tmp_path, 60)
    photos = read_photos(tmp_path)
    said = leaks_in_words(photos)
    assert int(re.search(r"groups of duplicates\. .* random: (\d+)\.", said)[1]) >= 1
    assert leaks_in_words(photos[:1]).startswith("No photo has a duplicate. Validation photos")
    assert not any(row["split"] for row in Manifest(tmp_path).rows)  # looking records nothing


def test_counts_what_a_random_split_leaks():
    assert leaked([0.1, 0.9, 0.1, 0.1, 0.3], [0, 0, 1, 1, 2]) == 1
    copies = [Photo(f"{i}.jpg", "a", f"{i % 100:064x}") for i in range(200)]
    said = leaks_in_words(copies)
    assert said.startswith("200 photos are in 100 groups of duplicates")
    assert 15 < int(said.rstrip(".").split()[-1]) < 50, "32 on average, with a standard deviation of about 5"


@pytest.mark.parametrize(("labels", "warns"), [(["a"] * 2 + ["b"] * 2, True), (["a"] * 10 + ["b"] * 10, False)])
def test_warns_of_an_unusual_share(labels, warns):
    valid = split_groups(labels, [draw(str(i)) for i in range(len(labels))], range(len(labels)))
    assert ("About 20% is usual" in in_words(range(len(labels)), 0, valid)) == warns


@pytest.fixture(scope="module")
def images():
    """Return 20 images of two labels by their files, and smaller copies of them by theirs."""
    images = {f"{label}/{i}.jpg": textures.render(label, i) for label in ("net", "spots") for i in range(20)}
    return images, {file.replace(".jpg", "-small.jpg"): image.resize((160, 160)) for file, image in images.items()}


def sides(top, files):
    """Save images by their files below `top`, and return the sets of training files and of validation files."""
    for file, image in files.items():
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        image.save(top / file, quality=90)
    paths = [top / file for file in files]
    found = GroupSplitter()(paths)
    assert sorted(found[0] + found[1]) == list(range(len(files)))
    return [{paths[i].relative_to(top).as_posix() for i in side} for side in found]


def test_a_folder_without_a_manifest_is_always_split_in_the_same_way(tmp_path, images, capsys):
    images, _ = images
    training, validation = sides(tmp_path / "a", images)
    assert "No photo has a duplicate" in capsys.readouterr().out
    assert {file.split("/")[0] for file in validation} == {"net", "spots"} and len(validation) == 8
    assert sides(tmp_path / "b", dict(reversed(images.items()))) == [training, validation]
    assert not list(tmp_path.rglob("manifest.csv"))


def test_a_dataset_keeps_its_split_as_photos_are_added(tmp_path, images, capsys):
    """Also beside a review that is open. What is excluded or relabelled meanwhile stays on its side."""
    images, copies = images
    photos = tmp_path / "dataset"
    for file, image in images.items():
        (tmp_path / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "mine" / file, quality=90)
    gather_from(tmp_path / "mine", photos)
    review = Review(photos)
    files = sorted(photos.glob("*/*.jpg"))
    first = [files[i].name for i in GroupSplitter()(files)[1]]
    review.decide([0, 1], EXCLUDE)
    review.decide([2], RELABEL, "spots")
    review.decide([3], KEEP)
    capsys.readouterr()
    for file, image in copies.items():
        image.save(photos / file, quality=90)  # added by hand
    files = sorted(photos.glob("*/*.jpg"))
    training, validation = GroupSplitter(seed=7)(files)
    assert re.search(r"7\d photos are in 3\d groups of duplicates", capsys.readouterr().out)
    names = [files[i].name for i in validation]
    there = {file.name for file in files}
    assert {name for name in names if "small" not in name} == set(first) & there
    assert 0.15 <= len(validation) / len(files) <= 0.25
    rows = Manifest(photos).rows
    assert len(rows) == 80 and {row["split"] for row in rows} == {"train", "valid"}
    assert {Path(row["file"]).name for row in rows if row["split"] == "valid" and row["decision"] == KEPT} == set(names)
    assert review.refresh() == [] and Counter(row["decision"] for row in rows) == {"kept": 78, "excluded": 2}
    assert Review(photos).counts() == {"": 76, EXCLUDE: 2, RELABEL: 1, KEEP: 1}
    review.undo(), review.undo(), review.undo()
    assert GroupSplitter()(files) == (training, validation) or there != {file.name for file in photos.glob("*/*.jpg")}
    files = sorted(photos.glob("*/*.jpg"))
    assert {files[i].name for i in GroupSplitter()(files)[1]} == set(names) | set(first)


def test_processes_that_split_at_the_same_time_agree(tmp_path, images):
    """Each has another seed, so the second one has to take what the first one recorded."""
    images, _ = images
    Manifest(tmp_path).add({"label": "net", "url": "x", "decision": "found"})
    for file, image in images.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        image.save(tmp_path / file, quality=90)
    files = sorted(tmp_path.glob("*/*.jpg"))
    with ThreadPoolExecutor() as pool:
        splits = list(pool.map(lambda seed: GroupSplitter(seed=seed)(files), range(4)))
    assert splits.count(splits[0]) == 4 and len(Manifest(tmp_path).rows) == 1 + len(images)


def test_a_photo_added_by_hand_goes_with_its_label(tmp_path, images):
    """Although a split has written a row for it: the source no longer has the label, and has it again."""
    images, _ = images
    photos, mine = tmp_path / "dataset", tmp_path / "mine"
    for file, image in images.items():
        (mine / file).parent.mkdir(parents=True, exist_ok=True)
        image.save(mine / file, quality=90)
    gather_from(mine, photos)
    images["net/0.jpg"].rotate(180).save(photos / "net/by-hand.jpg")
    GroupSplitter()(sorted(photos.glob("*/*.jpg")))
    (mine / "net").rename(tmp_path / "away")
    gather_from(mine, photos)
    assert not (photos / "net").exists()
    (tmp_path / "away").rename(mine / "net")
    gather_from(mine, photos)
    assert len(list((photos / "net").iterdir())) == 21
