"""The button that classifies the images."""

from pathlib import Path

import anywidget
import ipywidgets as widgets


class Button(anywidget.AnyWidget, widgets.Button):
    """A button of ipywidgets that can also be focused, with version 7 as well as with 8."""

    _esm = Path(__file__).with_name("button.js")

    def focus(self):
        """Give the button the focus, so that Enter presses it. The page does not scroll."""
        self.send({"do": "focus"})
