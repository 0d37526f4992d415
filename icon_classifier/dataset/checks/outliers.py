"""Find photos that are unlike the others of their label."""

import numpy as np

from .features import NEIGHBOURS, nearest, of_length_one
from .photo import Finding

MIN_PHOTOS = 10  # of a label; among fewer, nothing is typical
MIN_DEVIATIONS = 3.5  # from the median, in (scaled) median absolute deviations: the usual cut for outliers
MAX_SCORE = 0.5  # an unusual photo is often a good one, so these come after the other findings


class Outliers:
    """Photos that are far from all others of their label.

    features: an array (photos, n) of a network, one row per photo.
    """

    name = "unlike the others of its label"

    def __init__(self, features):
        self.features = of_length_one(features)

    def find(self, photos):
        """Return a `Finding` per outlier, the most suspicious first. `photos`: one per row of the features."""
        labels = np.array([photo.label for photo in photos])
        found = [one for label in np.unique(labels) for one in self._of_label(photos, np.flatnonzero(labels == label))]
        return sorted(found, key=lambda finding: (-finding.score, finding.file))

    def _of_label(self, photos, members):
        if len(members) < MIN_PHOTOS:
            return
        distances, beside = nearest(self.features[members], None, NEIGHBOURS)
        distances = distances.mean(1)
        typical = np.median(distances)
        deviation = 1.4826 * np.median(abs(distances - typical))  # the standard deviation of a normal distribution
        threshold = typical + MIN_DEVIATIONS * deviation
        for i in np.flatnonzero(distances > threshold):
            photo = photos[members[i]]
            other = photos[members[beside[i, 0]]]
            far = f"{distances[i] / typical:.1f} times as far" if typical else "farther"
            than = "as" if typical else "than"
            sentence = (
                f"It is {far} from the nearest photos of {photo.label} {than} a typical photo of that label. The "
                f"nearest is {other.file}."
            )
            score = float(MAX_SCORE * (1 - threshold / (2 * distances[i])))
            yield Finding(self.name, photo.file, photo.label, score, sentence, other.file)
