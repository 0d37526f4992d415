"""Define the widget that shows the predictions in a table."""

from pathlib import Path

import anywidget
import traitlets


class Table(anywidget.AnyWidget):
    """A table of `rows`, with a button that copies it. Without rows nothing is shown.

    rows: tuples of four texts: picture, prediction, probability, remark.
    """

    _esm = Path(__file__).with_name("table.js")
    rows = traitlets.List().tag(sync=True)
