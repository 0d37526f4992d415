"""Test dataset/split.py: duplicates stay on one side, every label is on both, and added photos move none back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support.standin import textures

from icon_classifier.dataset.split import VALID_SHARE, GroupSplitter, draw, leaked, split_groups

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


@given(datasets())
@settings(max_examples=300, deadline=None)
def test_groups_are_on_one_side_and_labels_on_both(dataset):
    labels, draws, pairs = dataset
    groups = groups_of(len(labels), pairs)
    valid = split_groups(labels, draws, groups)
    assert all(len(set(valid[groups == group])) == 1 for group in groups)
    where = np.array(labels)
    for label in set(labels):
        mine = groups[where == label]
        assert not valid[where == label].all()
        if len(set(mine)) > 1 and any(set(where[groups == group]) == {label} for group in mine):
            assert valid[where == label].any()
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    shuffled = split_groups(where[order], np.array(draws)[order], groups[order])
    assert (shuffled == valid[order]).all()


@given(datasets(), NUMBER)
@settings(max_examples=300, deadline=None)
def test_added_photos_move_none_from_validation_to_training(dataset, number):
    """Every label has two photos without duplicates, one for each side: then there are no exceptions."""
    labels, draws, pairs = dataset
    anchors = [label for label in "abcd" for _ in range(2)]
    labels = anchors + labels
    draws = [0.05, 0.95] * 4 + draws
    pairs = [(i + 8, j + 8) for i, j in pairs]
    number = min(number + 8, len(labels))
    before = split_groups(labels[:number], draws[:number], groups_of(number, pairs))
    after = split_groups(labels, draws, groups_of(len(labels), pairs))
    assert after[:number][before].all()
    # A photo that moved to validation did so because its group has a new photo there.
    groups = groups_of(len(labels), pairs)
    for i in np.flatnonzero(after[:number] & ~before):
        assert min(np.array(draws)[groups == groups[i]]) < VALID_SHARE


@given(datasets(), NUMBER)
@settings(max_examples=300, deadline=None)
def test_only_small_labels_move_photos_back_to_training(dataset, number):
    """A photo moves back only if it was moved before, or all groups of one of its labels draw the same side."""
    labels, draws, pairs = dataset
    number = min(number + 1, len(labels))
    before = split_groups(labels[:number], draws[:number], groups_of(number, pairs))
    groups, first = groups_of(len(labels), pairs), groups_of(number, pairs)
    after = split_groups(labels, draws, groups)
    where, numbers = np.array(labels), np.array(draws)
    drawn = np.array([numbers[groups == group].min() < VALID_SHARE for group in groups])
    for i in np.flatnonzero(before & ~after[:number]):
        was_moved = numbers[:number][first == first[i]].min() >= VALID_SHARE
        of_one_side = any(drawn[where == label].all() for label in where[groups == groups[i]])
        assert was_moved or of_one_side


def test_two_hundred_labels_of_five_photos_are_on_both_sides():
    labels = [label for label in range(200) for _ in range(5)]
    valid = split_groups(labels, [draw(str(i)) for i in range(1000)], range(1000))
    assert {(label, side) for label, side in zip(labels, valid, strict=True)} == {
        (label, side) for label in range(200) for side in (False, True)
    }


@pytest.mark.parametrize("seed", range(10))
def test_a_fifth_is_for_validation(seed):
    """Within four standard deviations, in each label and on the whole."""
    labels = ["a"] * 1000 + ["b"] * 1000
    valid = split_groups(labels, [draw(str(i), seed) for i in range(2000)], range(2000))
    assert abs(valid.mean() - 0.2) < 0.036
    assert all(abs(side.mean() - 0.2) < 0.051 for side in (valid[:1000], valid[1000:]))


def test_counts_what_a_random_split_leaks():
    assert leaked([0.1, 0.9, 0.1, 0.1, 0.3], [0, 0, 1, 1, 2]) == 1


def test_splitter_keeps_duplicates_together_as_photos_are_added(tmp_path, capsys):
    """Split files, in any folder and order. The labels of the photos are their folders."""
    images = {f"{label}/{i}.jpg": textures.render(label, i) for label in ("net", "spots") for i in range(20)}
    copies = {file.replace(".jpg", "-small.jpg"): image.resize((160, 160)) for file, image in images.items()}

    def sides(top, files):
        for file, image in files.items():
            (top / file).parent.mkdir(parents=True, exist_ok=True)
            image.save(top / file, quality=90)
        paths = [top / file for file in files]
        found = GroupSplitter()(paths)
        assert sorted(found[0] + found[1]) == list(range(len(files)))
        return [{paths[i].relative_to(top).as_posix() for i in side} for side in found]

    training, validation = sides(tmp_path / "a", images)
    assert "No photo has a duplicate" in capsys.readouterr().out
    assert sides(tmp_path / "b", dict(reversed(images.items()))) == [training, validation]
    more = sides(tmp_path / "a", images | copies)
    assert "80 photos are in 40 group(s) of duplicates" in capsys.readouterr().out
    assert validation <= more[1] and training | validation == {f for f in more[0] | more[1] if "small" not in f}
    assert all((file in more[0]) == (file.replace(".jpg", "-small.jpg") in more[0]) for file in images)
    assert {Path(file).parent.name for file in more[1]} == {"net", "spots"}
