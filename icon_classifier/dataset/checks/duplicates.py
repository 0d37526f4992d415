"""Find photos that show the same: the same bytes, or nearly the same pixels.

Photos that were re-encoded, resized, slightly cropped or mirrored show the same.
"""

from collections import defaultdict
from itertools import product

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..suspicion import EXCLUDE
from .photo import HASH_SIDE, REVIEW, THUMBNAIL, Finding

BITS = HASH_SIDE**2  # of a perceptual hash
MAX_DUPLICATE_BITS = 8  # that differ between duplicates; unrelated photographs differ in 22 and more
# Two photos are certainly copies if they differ by no more than the next four values. If they differ more, they can
# also be two photos of the same scene, or two drawings of the same icon: a person decides.
MAX_CERTAIN_BITS = 4
MIN_CERTAIN_CORRELATION = 0.95
MAX_CERTAIN_LEVELS = 4  # of 255, between the brightness of two photos
MAX_CERTAIN_CONTRAST = 0.05  # between their contrasts, relative to the larger one
MIN_CORRELATION = 0.9  # of duplicates' thumbnails; parts drawings whose hashes agree, but which are not the same
MIN_MIRRORED_CORRELATION = 0.95  # the same if one is mirrored; there are twice as many comparisons
# A perceptual hash has a bit per frequency, in rows of horizontal ones. A mirror image inverts the odd columns.
MIRRORED_SIGNS = np.tile([1, -1], BITS // 2).astype(np.float32)
# A person looks at what correlates so much that only the exposure can differ, or differs little in brightness too.
MIN_SIMILAR_CORRELATION = 0.98
MAX_SIMILAR_LEVELS = 8
MAX_SIMILAR_CONTRAST = 0.15
UNCERTAIN_SCORE_FACTOR = 0.1  # of uncertain duplicates, so that they come after wrong labels and impostors
BLOCK = 1024  # photos compared with all others at a time, which limits the memory needed


class Duplicates:
    """Photos that the same label has already. The largest of each group is kept.

    pairs: `duplicate_pairs` of the photos, or None to compute them.
    """

    name = "duplicates"

    def __init__(self, pairs=None):
        self.pairs = pairs

    def find(self, photos):
        """Return a `Finding` per photo that can go, group by group."""
        found = []
        for neighbours, group in _groups_of(photos, self.pairs):
            for members in _by_label(photos, group):
                copies = _copies(photos, neighbours, members)
                found += [
                    _finding(self.name, photos, neighbours, members[0], i, "label", copies.get(i))
                    for i in members[1:]
                    if i in copies or any(are_similar(photos[i], photos[j]) for j in neighbours[i].keys() & members)
                ]
        return found


class LabelConflicts:
    """Photos that occur under two labels, of which at most one is right. The largest photo of each label is named.

    Mirror images are left out. A label can mean a direction: an arrow to the left mirrors one to the right.

    pairs: `duplicate_pairs` of the photos, or None to compute them.
    """

    name = "the same photo under two labels"

    def __init__(self, pairs=None):
        self.pairs = pairs

    def find(self, photos):
        """Return a `Finding` per label and group that has photos of several labels."""
        found = []
        for neighbours, group in _groups_of(photos, self.pairs, mirrored=False):
            best = [members[0] for members in _by_label(photos, group)]
            for photo in best if len(best) > 1 else []:
                kept = next(other for other in best if other != photo)
                found.append(_finding(self.name, photos, neighbours, kept, photo, "other"))
        return found


def duplicate_pairs(photos):
    """Return {(i, j): number of bits in which the hashes of photos i < j differ} of all pairs of duplicates.

    Duplicates have nearly the same hash, and thumbnails that correlate. If they only have after one is mirrored, the
    bits are those that differ then. The same bytes differ in 0 bits; photos that are flat or cannot be decoded have
    only such duplicates.
    """
    found = {}
    usable = [i for i, p in enumerate(photos) if p.phash is not None]
    if usable:
        signs = np.stack([photos[i].phash for i in usable]).astype(np.float32)
        for start, mirrored in product(range(0, len(usable), BLOCK), (False, True)):
            others = signs * MIRRORED_SIGNS if mirrored else signs
            block = signs[start : start + BLOCK]
            bits = (abs(block) @ abs(others).T - block @ others.T) / 2  # the products of signs that differ are -1
            least = MIN_MIRRORED_CORRELATION if mirrored else MIN_CORRELATION
            for row, column in zip(*np.nonzero(bits <= MAX_DUPLICATE_BITS), strict=True):
                i, j = usable[start + row], usable[column]
                if i < j and (i, j) not in found and _correlation(photos[i], photos[j], mirrored) >= least:
                    found[i, j] = int(bits[row, column])
    first = {}
    for i, photo in enumerate(photos):
        if photo.sha256 and (earlier := first.setdefault(photo.sha256, i)) != i:
            found[earlier, i] = 0
    return found


def duplicate_groups(photos, pairs=None):
    """Return an array (len(photos),) of group numbers. Duplicates of duplicates are in the same group.

    pairs: as from `duplicate_pairs`, or None to compute them.
    """
    pairs = duplicate_pairs(photos) if pairs is None else pairs
    i, j = np.array([*pairs], dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(i), dtype=bool), (i, j)), shape=(len(photos), len(photos)))
    return connected_components(graph, directed=False)[1]


def _groups_of(photos, pairs, mirrored=True):
    """Yield (neighbours, members) per group of at least two photos: {i: {j: bits}}, and the numbers of its photos.

    mirrored: whether mirror images are in the same group.
    """
    pairs = duplicate_pairs(photos) if pairs is None else pairs
    if not mirrored:
        pairs = {(i, j): bits for (i, j), bits in pairs.items() if not _is_mirrored(photos[i], photos[j])}
    groups = defaultdict(list)
    for i, group in enumerate(duplicate_groups(photos, pairs)):
        groups[group].append(i)
    neighbours = defaultdict(dict)
    for (i, j), bits in pairs.items():
        neighbours[i][j] = neighbours[j][i] = bits
    for members in groups.values():
        if len(members) > 1:
            yield neighbours, members


def _by_label(photos, members):
    """Return `members` as one list per label, the largest photo first."""
    labels = defaultdict(list)
    for i in sorted(members, key=lambda i: (-photos[i].width * photos[i].height, photos[i].file)):
        labels[photos[i].label].append(i)
    return [labels[label] for label in sorted(labels)]


def _copies(photos, neighbours, members):
    """Return {i: the photo that it is certainly a copy of}. That photo is not in it, so one of each image stays."""
    copies = {}
    for n, i in enumerate(members):
        staying = [j for j in members[:n] if j in neighbours[i] and j not in copies]
        copied = next((j for j in staying if are_copies(photos[i], photos[j])), None)
        if copied is not None:
            copies[i] = copied
    return copies


def _finding(check, photos, neighbours, kept, i, among, copied=None):
    """Return the `Finding` about photo i, beside the photo `copied`, which it is certainly a copy of.

    If that is None: beside its nearest duplicate. `kept` goes first among equals.
    among: "label" to prefer duplicates of the same label, "other" to prefer those of other labels.
    """
    photo = photos[i]

    def rank(j):
        fits = (photos[j].label == photo.label) == (among == "label")
        return not fits, neighbours[i][j], j != kept, photos[j].file

    nearest = min(neighbours[i], key=rank) if copied is None else copied
    bits = neighbours[i][nearest]
    beside = photos[nearest]
    if beside.sha256 == photo.sha256:
        sentence = f"It is the same file as {beside.file}."
    else:
        mirrored = ", mirrored" if _is_mirrored(photo, beside) else ""
        sentence = f"It shows the same as {beside.file}{mirrored}: {bits} of {BITS} bits differ."
    if among == "other":
        others = sorted({photos[j].label for j in neighbours[i]} - {photo.label})
        if len(others) == 1:
            sentence += f" The copy has the label {others[0]}, so one of the labels is wrong."
        elif others:
            sentence += f" Copies have the labels {' and '.join(others)}, so at most one of the labels is right."
        else:
            sentence += " Other photos of the group have other labels."
    certain = copied is not None or (among == "other" and are_copies(photo, beside))
    suggested = EXCLUDE if copied is not None else REVIEW
    score = (1 - bits / BITS) * (1 if certain else UNCERTAIN_SCORE_FACTOR)
    other = beside.label if beside.label != photo.label else ""
    return Finding(check, photo.file, photo.label, score, sentence, beside.file, suggested, other)


def are_copies(a, b):
    """Return whether two duplicates were certainly made from the same image. For mirror images, this is not certain."""
    if a.sha256 == b.sha256:
        return True
    return (
        _bits(a, b) <= MAX_CERTAIN_BITS
        and _correlation(a, b) >= MIN_CERTAIN_CORRELATION
        and _equally_bright(a, b, MAX_CERTAIN_LEVELS, MAX_CERTAIN_CONTRAST)
    )


def are_similar(a, b):
    """Return whether a person should compare two duplicates. Drawings of an icon in different colours are left out."""
    if a.sha256 == b.sha256:
        return True
    correlation = _correlation(a, b)
    mirrored = _correlation(a, b, True) >= MIN_SIMILAR_CORRELATION
    equal = _equally_bright(a, b, MAX_SIMILAR_LEVELS, MAX_SIMILAR_CONTRAST)
    return correlation >= MIN_SIMILAR_CORRELATION or (equal and (mirrored or correlation >= MIN_CERTAIN_CORRELATION))


def _is_mirrored(a, b):
    """Return whether two photos are duplicates only after one of them is mirrored."""
    return a.sha256 != b.sha256 and (_bits(a, b) > MAX_DUPLICATE_BITS or _correlation(a, b) < MIN_CORRELATION)


def _bits(a, b):
    """Return the number of bits in which the hashes of two photos differ."""
    return np.count_nonzero(a.phash * b.phash < 0)


def _correlation(a, b, mirrored=False):
    """Return the correlation of the thumbnails of two photos, or of one with the mirror image of the other."""
    other = b.thumbnail.reshape(THUMBNAIL)[:, ::-1].ravel() if mirrored else b.thumbnail
    return a.thumbnail @ other


def _equally_bright(a, b, levels, contrast):
    """Return whether the brightness and the contrast of two photos differ by at most that much."""
    return abs(a.brightness - b.brightness) <= levels and abs(a.contrast - b.contrast) <= contrast * max(
        a.contrast, b.contrast
    )
