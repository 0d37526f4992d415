"""Find photos that are far from those that a person has approved: the only check that finds coherent impostors."""

import numpy as np

from .features import NEIGHBOURS, nearest, of_length_one
from .photo import Finding

MIN_APPROVED = NEIGHBOURS + 2  # of a label; with fewer, the distances say nothing
USUAL_SHARE = 0.75  # of the approved photos; what is no farther than these from the others is not a finding


class FarFromApproved:
    """Photos that are farther from the approved photos of their label than most of these are from each other.

    If half of "drake" are other Drakes, each of them resembles many photos of its label, so no statistic finds it. The
    approved photos say who is meant.

    features: an array (photos, n) of a network, one row per photo. approved: the files that a person has approved.
    """

    name = "far from the approved photos"

    def __init__(self, features, approved):
        self.features = of_length_one(features)
        self.approved = set(approved)

    def find(self, photos):
        """Return a `Finding` per photo, the most suspicious first. `photos`: one per row of the features."""
        labels = np.array([photo.label for photo in photos])
        good = np.array([photo.file in self.approved for photo in photos], dtype=bool)
        found = []
        for label in np.unique(labels[good]):
            mine = labels == label
            found += self._of_label(photos, np.flatnonzero(mine & ~good), np.flatnonzero(mine & good))
        return sorted(found, key=lambda finding: (-finding.score, finding.file))

    def _of_label(self, photos, others, good):
        if len(good) < MIN_APPROVED or not len(others):
            return
        among = nearest(self.features[good], None)[0].mean(1)
        distances, beside = nearest(self.features[others], self.features[good])
        distances = distances.mean(1)
        limit = np.quantile(among, USUAL_SHARE)
        scores = 1 - max(np.median(among), 1e-6) / np.maximum(distances, 1e-6)  # comparable between labels: a ratio
        for i in np.flatnonzero(distances > limit):
            photo, other = photos[others[i]], photos[good[beside[i, 0]]]
            sentence = (
                f"It is {1 / (1 - scores[i]):.1f} times as far from the nearest approved photos of {photo.label} as "
                f"these are from each other; the nearest is {other.file}."
            )
            yield Finding(self.name, photo.file, photo.label, float(scores[i]), sentence, other.file)
