"""Exclude three photos of the dataset argv[1], and undo it twice: on a full disk, and on one with space."""

import resource
import signal
import sys

from icon_classifier.dataset.manifest import DiskError
from icon_classifier.dataset.review.decisions import Review

review = Review(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
review.decide(range(3), "exclude")
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ((review.photos / "manifest.csv").stat().st_size + 50, most))
try:
    review.undo()
except DiskError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    print(review.undo())
