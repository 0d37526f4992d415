"""Compute distances between the features of photos, for the checks that compare them."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 3  # nearest photos whose mean distance counts; with one, two unusual photos that are alike look typical


def of_length_one(features):
    """Return `features` (photos, n) scaled to rows of length 1, so that distances do not depend on the brightness."""
    features = np.asarray(features, dtype=np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def centred(features):
    """Return `features` (photos, n) as directions from their mean: what all photos have in common tells none apart."""
    features = of_length_one(features)
    return of_length_one(features - features.mean(0))


def nearest(features, among, number=NEIGHBOURS):
    """Return (distances, indices), each (photos, number), from each row of `features` to its nearest rows of `among`.

    among: an array of features, or None for the other rows of `features`. There are fewer columns if it has fewer rows.
    """
    others = len(features) - 1 if among is None else len(among)
    search = NearestNeighbors(n_neighbors=min(number, others), algorithm="brute")
    search.fit(features if among is None else among)
    return search.kneighbors(None if among is None else features)
