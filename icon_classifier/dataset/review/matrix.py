"""The widget of a confusion matrix whose cells are buttons."""

from collections import Counter
from pathlib import Path

import anywidget
import traitlets

from .scripts import join_scripts


class ConfusionMatrix(anywidget.AnyWidget):
    """Show a confusion matrix of `photos`; a click on a cell calls `opened` with its photos.

    photos: (file, true label, predicted label, loss) per photo.
    opened: called with the files of a cell, those with the highest loss first, and what they are in words.

    The browser sends {"cell": [true, predicted]} (numbers of labels) or {"losses": number}; see matrix.js.
    """

    _esm = join_scripts("elements.js", "matrix.js")
    _css = Path(__file__).with_name("grid.css")
    labels = traitlets.List().tag(sync=True)
    counts = traitlets.List().tag(sync=True)  # rows: true labels; columns: predictions
    losses = traitlets.Int(20).tag(sync=True)  # the number of photos that the button for top losses opens

    def __init__(self, labels, photos, opened):
        self._photos = sorted(photos, key=lambda photo: -photo[3])
        self._opened = opened
        pairs = Counter((true, predicted) for _, true, predicted, _ in photos)
        counts = [[pairs[true, predicted] for predicted in labels] for true in labels]
        super().__init__(labels=list(labels), counts=counts, losses=min(20, len(photos)))
        self.on_msg(self._receive)

    def _receive(self, _widget, message, _buffers):
        if "cell" in message:
            true, predicted = (self.labels[int(number)] for number in message["cell"])
            words = f"{true}, predicted correctly" if true == predicted else f"{true}, predicted as {predicted}"
            self._opened([file for file, *pair, _ in self._photos if pair == [true, predicted]], words)
        elif "losses" in message:
            self._opened([file for file, *_ in self._photos[: self.losses]], "those with the highest losses")
