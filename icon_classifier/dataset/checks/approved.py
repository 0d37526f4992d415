"""Find photos that are far from those that a person has approved: the only check that finds coherent impostors."""

import numpy as np

from .features import NEIGHBOURS, centred, nearest, robust_limit
from .photo import Finding

MIN_APPROVED = NEIGHBOURS + 2  # of a label; with fewer, the distances say nothing
AVERAGED = 4  # nearest photos of its label that a photo's distance is averaged with
ROUNDS = 2  # of averaging; with one, a photo in a gap between the approved ones is as suspicious as an impostor
# From the median distance, in standard deviations. The lower limit counts: the first fails if most are impostors, the
# second if the approved photos are diverse.
# Both are low, because only who has approved photos gets these findings, and the order puts the farthest first.
MIN_DEVIATIONS = 1  # of all other photos
MIN_DEVIATIONS_OF_APPROVED = 2


class FarFromApproved:
    """Photos that are farther from the approved photos of their label than these are from each other.

    If half of "drake" are other Drakes, each of them resembles many photos of its label, so no statistic finds it. The
    approved photos say who is meant. Impostors resemble each other, so each photo's distance is averaged with those of
    the photos that it resembles (Yang, Rahardja and Fränti, "Neighborhood averaging for improving outlier detectors",
    2023); distances are between centred features of length 1 (Wang et al., "SimpleShot", 2019).

    features: an array (photos, n) of a network, one row per photo. approved: the files that a person has approved.
    """

    name = "far from the approved photos"

    def __init__(self, features, approved):
        self.features = centred(features)
        self.approved = set(approved)

    def find(self, photos):
        """Return a `Finding` per photo, the most suspicious first. `photos`: one per row of the features."""
        labels = np.array([photo.label for photo in photos])
        good = np.array([photo.file in self.approved for photo in photos], dtype=bool)
        found = []
        for label in np.unique(labels[good]):
            mine = np.flatnonzero(labels == label)
            found += self._of_label([photos[i] for i in mine], self.features[mine], good[mine])
        return sorted(found, key=lambda finding: (-finding.score, finding.file))

    def _of_label(self, photos, features, good):
        approved = np.flatnonzero(good)
        if len(approved) < MIN_APPROVED or good.all():
            return
        distances, beside = nearest(features, features[good])
        distances[good] = nearest(features[good], None)[0]  # to the others
        distances = _averaged(distances.mean(1), features)
        usual = max(np.median(distances[good]), 1e-6)
        limits = (distances[~good], MIN_DEVIATIONS), (distances[good], MIN_DEVIATIONS_OF_APPROVED)
        limit = max(min(robust_limit(*each) for each in limits), usual)
        for i in np.flatnonzero(~good & (distances > limit)):
            photo, other, times = photos[i], photos[approved[beside[i, 0]]], distances[i] / usual
            sentence = (
                f"It, and what it resembles most, is {times:.1f} times as far from the approved photos of "
                f"{photo.label} as these are from each other; the nearest is {other.file}."
            )
            yield Finding(self.name, photo.file, photo.label, float(1 - 1 / times), sentence, other.file)


def _averaged(distances, features):
    """Return the mean of each photo's distance and those of its nearest photos, `ROUNDS` times."""
    around = np.c_[np.arange(len(features)), nearest(features, None, AVERAGED)[1]]
    for _ in range(ROUNDS):
        distances = distances[around].mean(1)
    return distances
