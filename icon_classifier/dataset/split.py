"""Split photos into training and validation so that duplicates stay together, and stay there when photos are added."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

VALID_SHARE = 0.2


def draw(sha256, seed=42):
    """Return the number in [0, 1) that a photo with this SHA-256 draws; the same wherever its file lies."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sha256}".encode()).digest()[:8]) / 2**64


def split_groups(labels, draws, groups, share=VALID_SHARE):
    """Return a boolean array: which photos are for validation. Equal photos need equal draws and one group.

    labels, draws (see `draw`), groups: one value per photo.

    A group is for validation if one of its photos draws less than `share`. Adding photos only enlarges and joins
    groups, so it moves no photo from validation to training. As a consequence, a group of n photos is for validation
    with probability 1 - (1 - share)^n. No rule that does not know future photos can have a lower probability.

    Two exceptions give every label what training needs. They concern labels with few photos or groups, and they alone
    can move a photo from validation to training when photos are added:
    - Every label has a photo for training.
    - Every label with at least two groups, one of which contains no other label, has a photo for validation as well.
    """
    least = defaultdict(lambda: 1.0)  # group -> the least draw of its photos
    labels_of = defaultdict(set)
    groups_of = defaultdict(set)
    for label, number, group in zip(labels, draws, groups, strict=True):
        least[group] = min(least[group], number)
        labels_of[group].add(label)
        groups_of[label].add(group)
    valid = {group for group in least if least[group] < share}

    def order(group):
        return least[group], sorted(labels_of[group])

    own = {label: [g for g in groups_of[label] if len(labels_of[g]) == 1] for label in sorted(groups_of)}
    for label in own:  # first the groups of several labels, because the next loop relies on their sides
        if not own[label] and groups_of[label] <= valid:
            valid.remove(max(groups_of[label], key=order))
    for label in own:
        if own[label] and groups_of[label] <= valid:
            valid.remove(max(own[label], key=order))
        elif own[label] and len(groups_of[label]) > 1 and not groups_of[label] & valid:
            valid.add(min(own[label], key=order))
    return np.array([group in valid for group in groups], dtype=bool)


def leaked(draws, groups, share=VALID_SHARE):
    """Return how many validation photos would have a duplicate in training if each photo were drawn by itself."""
    draws = np.asarray(draws)
    groups = np.asarray(groups)
    training = set(groups[draws >= share])
    return sum(group in training for group in groups[draws < share])


class GroupSplitter:
    """A splitter for fastai's DataBlock that keeps duplicates on one side; see `split_groups`.

    Called with paths whose folder is the label, it prints what it found and returns two lists of their indices.
    """

    def __init__(self, share=VALID_SHARE, seed=42):
        self.share = share
        self.seed = seed

    def __call__(self, files):
        from .checks.duplicates import duplicate_groups
        from .checks.photo import read_files

        photos = read_files([(file, Path(file).as_posix(), Path(file).parent.name) for file in files])
        groups = duplicate_groups(photos)
        draws = [draw(photo.sha256, self.seed) for photo in photos]
        valid = split_groups([photo.label for photo in photos], draws, groups, self.share)
        print(in_words(groups, leaked(draws, groups, self.share)))
        return np.flatnonzero(~valid).tolist(), np.flatnonzero(valid).tolist()


def in_words(groups, leaks):
    """Return a sentence about the duplicates in `groups` (a group per photo) and the leaks of a random split."""
    sizes = np.unique(groups, return_counts=True)[1]
    number = int((sizes > 1).sum())
    if not number:
        return "No photo has a duplicate, so no validation photo has one in training."
    groups = "1 group" if number == 1 else f"{number} groups"
    return (
        f"{sizes[sizes > 1].sum()} photos are in {groups} of duplicates, and each group is on one side of the split. "
        f"Validation photos that a random split would have leaked, because a duplicate is in training: {leaks}."
    )
