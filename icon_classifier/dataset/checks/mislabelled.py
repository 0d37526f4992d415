"""Find photos that are likely mislabelled, from out-of-sample probabilities."""

import numpy as np

from ..suspicion import RELABEL
from .features import nearest, of_length_one
from .photo import REVIEW, Finding


class Mislabelled:
    """Photos that a model predicts to have another label than their own. cleanlab decides for which of them to relabel.

    labels: the names of the columns of `probabilities` (photos, labels), which are out-of-sample: each photo's are from
    a model that was not trained on it. features: an array (photos, n), for the evidence, or None for none.
    """

    name = "likely mislabelled"

    def __init__(self, labels, probabilities, features=None):
        self.labels = list(labels)
        self.probabilities = np.asarray(probabilities, dtype=float)
        self.features = None if features is None else of_length_one(features)

    def find(self, photos):
        """Return a `Finding` per photo, the most suspicious first. `photos`: one per row of the arrays."""
        given = np.array([self.labels.index(photo.label) for photo in photos], dtype=int)
        if len(np.unique(given)) < 2:
            return []
        predicted = self.probabilities.argmax(1)
        own = self.probabilities[np.arange(len(given)), given]
        scores = (1 + self.probabilities.max(1) - own) / 2
        certain = _issues(given, self.probabilities)
        order = sorted(np.flatnonzero(predicted != given), key=lambda i: (-scores[i], photos[i].file))
        evidence = self._evidence(photos, order, given, predicted)
        return [
            Finding(
                self.name, photos[i].file, photos[i].label, float(scores[i]),
                self._sentence(i, predicted[i], own[i], evidence.get(i)), evidence.get(i, ""),
                RELABEL if certain[i] else REVIEW, self.labels[predicted[i]],
            )
            for i in order
        ]  # fmt: skip

    def _sentence(self, i, other, own, beside):
        sentence = (
            f"A model that was not trained on this photo predicts {self.labels[other]} "
            f"({self.probabilities[i, other]:.0%}), not its label ({own:.0%})."
        )
        return f"{sentence} The nearest photo of {self.labels[other]} is {beside}." if beside else sentence

    def _evidence(self, photos, order, given, predicted):
        """Return {i: the file of the photo nearest to photo i among those of its predicted label}."""
        found = {}
        for label in {predicted[i] for i in order} if self.features is not None else ():
            mine = [i for i in order if predicted[i] == label]
            theirs = np.flatnonzero(given == label)
            if len(theirs):
                _, beside = nearest(self.features[mine], self.features[theirs], 1)
                found |= {i: photos[theirs[j]].file for i, j in zip(mine, beside[:, 0], strict=True)}
        return found


def _issues(given, probabilities):
    """Return a boolean array: which photos cleanlab takes for mislabelled (confident learning)."""
    from cleanlab.filter import find_label_issues  # takes seconds to import

    present, given = np.unique(given, return_inverse=True)
    probabilities = probabilities[:, present] + 1e-12
    return find_label_issues(given, probabilities / probabilities.sum(1, keepdims=True), n_jobs=1)
