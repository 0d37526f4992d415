"""Split photos into training and validation so that duplicates stay together, and stay there when photos are added."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .exclude import Rows
from .layout import readable
from .manifest import Manifest, is_dataset, one_line

VALID_SHARE = 0.2
_LEAKED = "Validation photos with a duplicate in training, if the split were random:"
USUAL_SHARES = 0.1, 0.3  # other shares of validation photos are worth a warning
TRAIN, VALID = "train", "valid"  # the manifest's column `split`


def draw(sha256, seed=42):
    """Return the number in [0, 1) that a photo with this SHA-256 draws; the same wherever its file lies."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sha256}".encode()).digest()[:8]) / 2**64


@dataclass
class _Group:
    """Photos that stay together: the least of their draws, their number by label, and their recorded sides."""

    draw: float = 1.0
    labels: Counter = field(default_factory=Counter)
    sides: set = field(default_factory=set)

    @property
    def order(self):
        return self.draw, sorted(self.labels)


def split_groups(labels, draws, groups, sides=None, share=VALID_SHARE):
    """Return a boolean array: which photos are for validation. Equal photos need equal draws and one group.

    labels, draws (see `draw`), groups: one value per photo. sides: where each photo was before, `TRAIN`, `VALID` or ""
    for a new one; None if all are new.

    Groups stay where they were. If photos of both sides are joined by a new one, their group is for validation. So
    adding photos moves none from validation to training, as long as the sides are recorded. New groups are taken in the
    order of their least draws, and are for validation as long as no label has more than its `share` of validation
    photos. After that, groups that are larger than what is missing are for validation if that brings their labels
    closer to the share. So the share is exact up to the size of a group, in each label, and a huge group is for
    training.

    Two exceptions give every label what training needs. The first can move a group from validation to training, if all
    groups of a label were joined with validation photos.
    - Every label has a photo for training.
    - Every label with at least two groups, one of which contains no other label, has a photo for validation as well.
    """
    found = {}
    for label, number, group, side in zip(labels, draws, groups, sides or [""] * len(labels), strict=True):
        entry = found.setdefault(group, _Group())
        entry.draw = min(entry.draw, number)
        entry.labels[label] += 1
        entry.sides.add(side)
    valid = {key for key, group in found.items() if VALID in group.sides}
    _take_new(found, valid, Counter(labels), share)
    _give_every_label_both(found, valid)
    return np.array([group in valid for group in groups], dtype=bool)


def _take_new(found, valid, totals, share):
    """Add groups whose sides were not recorded to `valid`. found: {key: `_Group`}. totals: photos by label."""
    missing = {label: max(1, share * total) for label, total in totals.items()}  # validation photos

    def take(key):
        valid.add(key)
        for label, number in found[key].labels.items():
            missing[label] -= number

    for key in list(valid):
        take(key)
    new = sorted((key for key, group in found.items() if group.sides == {""}), key=lambda key: found[key].order)
    for key in new:
        if all(number <= missing[label] + 0.5 for label, number in found[key].labels.items()):
            take(key)
    for key in new:
        changes = [
            (abs(missing[label] - number) - abs(missing[label])) / totals[label]
            for label, number in sorted(found[key].labels.items())
        ]
        if key not in valid and sum(changes) < 0:
            take(key)


def _give_every_label_both(found, valid):
    """Change `valid` so that every label has training photos, and validation photos if it has enough groups."""
    keys = {}  # by label
    for key, group in found.items():
        for label in group.labels:
            keys.setdefault(label, set()).add(key)

    def alone(key):
        return len(found[key].labels) == 1

    def last(key):
        return alone(key), VALID not in found[key].sides, found[key].order

    def first(key):
        return TRAIN in found[key].sides, found[key].labels.total(), found[key].order

    for label in sorted(keys):
        if keys[label] <= valid:
            valid.remove(max(keys[label], key=last))
    for label in sorted(keys):
        own = [key for key in keys[label] if alone(key)]
        if own and len(keys[label]) > 1 and not keys[label] & valid:
            valid.add(min(own, key=first))


def linked_groups(photos):
    """Return an array (len(photos),) of group numbers. No two photos of a group may be on different sides.

    photos: see checks.photo.Photo. Copies are linked, also those with another exposure and mirrored ones. Not all
    duplicates are: among drawings of one icon they form chains through half of them, though most are no copies.
    """
    from .checks.duplicates import are_similar, duplicate_groups, duplicate_pairs

    pairs = duplicate_pairs(photos)
    return duplicate_groups(photos, [(i, j) for i, j in pairs if are_similar(photos[i], photos[j])])


def linked_files(files):
    """Return the `linked_groups` of files, whose folders are their labels."""
    return linked_groups(_read(files))


def _read(files):
    from .checks.photo import read_files

    return read_files([(file, Path(file).as_posix(), Path(file).parent.name) for file in files])


def leaked(draws, groups, share=VALID_SHARE):
    """Return how many validation photos would have a duplicate in training if each photo were drawn by itself."""
    draws = np.asarray(draws)
    groups = np.asarray(groups)
    training = set(groups[draws >= share])
    return sum(group in training for group in groups[draws < share])


def _own_draws(photos, seed):
    """Return a draw per photo, as `draw` does, but another one for each further photo of the same bytes."""
    copies = Counter()
    draws = []
    for photo in photos:
        copies[photo.sha256] += 1
        number = copies[photo.sha256]
        draws.append(draw(photo.sha256 if number == 1 else f"{photo.sha256} {number}", seed))
    return draws


class GroupSplitter:
    """A splitter for fastai's DataBlock that keeps duplicates on one side; see `split_groups`.

    Called with paths whose folder is the label, it prints what it found and returns two lists of their indices. If they
    are in a dataset, its manifest records the sides, and the next call keeps them, whatever its `share` and `seed`.
    Without a manifest the same files are split in the same way, but adding files can move others.
    """

    def __init__(self, share=VALID_SHARE, seed=42):
        self.share = share
        self.seed = seed

    def __call__(self, files):
        photos = _read(files)
        groups = linked_groups(photos)
        draws = [draw(photo.sha256, self.seed) for photo in photos]
        labels = [photo.label for photo in photos]
        dataset = _dataset_of(files)

        def split(sides=None):
            return split_groups(labels, draws, groups, sides, self.share)

        valid = _split_and_record(dataset, photos, split) if dataset else split()
        print(in_words(groups, leaked(_own_draws(photos, self.seed), groups, self.share), valid))
        return np.flatnonzero(~valid).tolist(), np.flatnonzero(valid).tolist()


def _dataset_of(files):
    """Return the folder of the dataset that contains all `files`, or None."""
    top = Path(os.path.commonpath(files)) if len(files) else Path()
    return next((folder for folder in (top, *top.parents[:2]) if is_dataset(folder)), None)


def _split_and_record(dataset, photos, split):
    """Return `split(sides)`, which gets the sides that the manifest of `dataset` records, and record the new sides.

    Nobody else writes to the manifest in between: two processes that train on one dataset get the same split.
    """
    manifest = Manifest(dataset)
    files = [Path(photo.file).relative_to(dataset).as_posix() for photo in photos]
    with manifest.locked_if_writable():
        manifest.refresh()
        if manifest.writable:
            Rows(manifest).reconcile([file for file in files if _fits_in_a_row(file)])
        rows = Rows(manifest)
        sides = [rows.kept.get(file, {}).get("split", "") for file in files]
        valid = split(sides)
        changed = [
            {**rows.of(file), "split": side}
            for file, photo, before, side in zip(files, photos, sides, np.where(valid, VALID, TRAIN), strict=True)
            if side != before and photo.sha256 and _fits_in_a_row(file) and (dataset / file).exists()
        ]
        if changed and manifest.writable:
            manifest.add(*changed)
        elif changed:
            print(f"{dataset} cannot be written to, so which photos are for validation is not recorded.")
    return valid


def _fits_in_a_row(file):
    """Return whether a file name is text without line breaks, so that the manifest can hold it."""
    return file == readable(file) == one_line(file)


def in_words(groups, leaks, valid):
    """Return sentences about a split: its share, the groups of duplicates, and the leaks of a random split.

    groups: one per photo. valid: as from `split_groups`.
    """
    share = np.mean(valid) if len(valid) else 0
    said = f"{np.sum(valid)} of {len(valid)} photos ({share:.0%}) are for validation. "
    if not USUAL_SHARES[0] <= share <= USUAL_SHARES[1]:
        said += f"About {VALID_SHARE:.0%} is usual"
        said += ": gather more photos, or exclude some of those that show nearly the same. "
    counted = _count_groups(groups)
    if not counted:
        return said + "No photo has a duplicate, so no validation photo has one in training."
    return said + f"{counted}, and each group is on one side of the split. {_LEAKED} {leaks}."


def leaks_in_words(photos, seed=42):
    """Return sentences about what a random split of `photos` would leak. photos: see checks.photo.Photo."""
    groups = linked_groups(photos)
    leaks = leaked(_own_draws(photos, seed), groups)
    return f"{_count_groups(groups) or 'No photo has a duplicate'}. {_LEAKED} {leaks}."


def _count_groups(groups):
    """Return how many photos have duplicates as the beginning of a sentence, or ""."""
    sizes = np.unique(groups, return_counts=True)[1]
    sizes = sizes[sizes > 1]
    number = "1 group" if len(sizes) == 1 else f"{len(sizes)} groups"
    return f"{sizes.sum()} photos are in {number} of duplicates" if len(sizes) else ""
