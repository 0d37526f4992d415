"""Load the export argv[2] with the function argv[1] of model/classifier.py, and predict the image on stdin."""

import sys

from icon_classifier.model import classifier

getattr(classifier, sys.argv[1])(sys.argv[2]).predict(sys.stdin.buffer.read())
