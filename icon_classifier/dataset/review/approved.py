"""Compare the photos of a review with those that were approved in it."""

from collections import Counter
from types import SimpleNamespace

import numpy as np

from ..checks.approved import FarFromApproved
from ..layout import readable
from ..suspicion import EXCLUDE
from .decisions import APPROVE, MIN_APPROVED_TO_COMPARE


class CompareWithApproved:
    """Find photos that are far from the approved photos of their label.

    Labels with less than `MIN_APPROVED_TO_COMPARE` approved photos are left out.

    features: {file below the dataset: its features, of a network}. Photos without features are left out.
    """

    def __init__(self, features):
        self.features = {readable(file): values for file, values in features.items()}

    def __call__(self, items):
        """Return the `Finding`s about `items`, those of a `Review`."""
        names = {item.number: self._name(item) for item in items if item.decision != EXCLUDE}
        items = [item for item in items if names.get(item.number)]
        counts = Counter(item.label for item in items if item.decision == APPROVE)
        enough = {label for label, number in counts.items() if number >= MIN_APPROVED_TO_COMPARE}
        approved = {item.found_as for item in items if item.decision == APPROVE and item.label in enough}
        if not approved:
            return []
        features = np.array([self.features[names[item.number]] for item in items])
        photos = [SimpleNamespace(file=item.found_as, label=item.label) for item in items]
        return FarFromApproved(features, approved).find(photos)

    def _name(self, item):
        """Return the path of a photo in the features, which can be that from before it was relabelled; or None."""
        return next((name for name in (readable(item.file), item.found_as) if name in self.features), None)
