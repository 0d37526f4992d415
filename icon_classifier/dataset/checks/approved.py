"""Find photos that are far from those that a person has approved: the only check that finds coherent impostors."""

import numpy as np
from sklearn.linear_model import Ridge

from .features import centred, nearest
from .photo import Finding

MIN_APPROVED = 5  # of a label; with fewer, the distances say nothing
NEAREST_APPROVED = 9  # a photo's distance is the mean distance to this many approved photos, the nearest ones
MAX_AVERAGED = 4  # a photo's distance is averaged with those of at most this many nearest photos of its label
PHOTOS_PER_AVERAGED = 15  # one of these per 15 photos of a label: in a small label, more would show something else
ROUNDS = 3  # of averaging; after a single one, a photo between two groups of approved ones looks like an impostor
PENALTY = 3  # of the ridge regression; any value from 1 to 30 finds as many
MIN_SHARE = 0.25  # of the highest prediction
HALF_SCORE = 0.1  # the predicted distance above the median at which the score is 0.5


class FarFromApproved:
    """Photos that resemble those farthest from the approved photos of their label, more than approved photos do.

    If half of "drake" are other Drakes, each of them resembles many photos of its label, so no statistic finds it. The
    approved photos say who is meant. As the others may show either, this is learning from positive and unlabelled
    examples in two steps (Bekker and Davis, "Learning from positive and unlabeled data: a survey", 2020):

    - Each photo's distance to the approved ones is averaged with those of the photos that it resembles (Yang, Rahardja
      and Fränti, "Neighborhood averaging for improving outlier detectors", 2023). Distances are between centred
      features of length 1 (Wang et al., "SimpleShot", 2019).
    - A ridge regression learns from the features how far each photo's distance is above the median, and so what the
      farthest photos have in common. A photo is found if its prediction is at least `MIN_SHARE` of the highest one, and
      exceeds that of every approved photo but one, which may be unusual.

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
        distances, beside = nearest(features, features[good], NEAREST_APPROVED)
        distances = distances.mean(1)
        distances[good] = nearest(features[good], None, NEAREST_APPROVED)[0].mean(1)  # to the others
        distances = _averaged(distances, features)
        base = min(np.median(distances), distances[good].max())  # the second counts if most photos are impostors
        targets = np.maximum(distances - base, 0) ** 2  # squared: the farthest count most
        excess = Ridge(PENALTY).fit(features, targets).predict(features)
        threshold = max(np.sort(excess[good])[-2], MIN_SHARE * excess.max())
        usual = np.median(distances[good])
        for i in np.flatnonzero(~good & (excess > threshold) & (distances > usual)):
            photo = photos[i]
            other = photos[approved[beside[i, 0]]]
            times = distances[i] / max(usual, 1e-9)  # near 1, or huge if the approved photos are alike: of no use
            far = f"{times:.1f} times as far" if 1.05 < times < 100 else "farther"
            than = "as" if 1.05 < times < 100 else "than"
            sentence = (
                f"This photo and those that it resembles are {far} from the approved photos of {photo.label} {than} "
                f"these are from each other. The nearest approved photo is {other.file}."
            )
            above = float(excess[i] ** 0.5)
            yield Finding(self.name, photo.file, photo.label, above / (above + HALF_SCORE), sentence, other.file)


def _averaged(distances, features):
    """Return the mean of each photo's distance and those of its nearest photos, `ROUNDS` times."""
    number = min(MAX_AVERAGED, max(1, len(features) // PHOTOS_PER_AVERAGED))
    around = np.c_[np.arange(len(features)), nearest(features, None, number)[1]]
    for _ in range(ROUNDS):
        distances = distances[around].mean(1)
    return distances
