"""Upper floor: the page's five widgets, and what happens when a visitor uses them."""

import base64
import html
import io
import logging
from importlib.resources import files
from pathlib import Path

import ipywidgets as widgets

from ..card import in_words
from ..classifier import ExportError
from ..pictures import PictureError, open_picture
from . import memory
from .preloaded import find_classifier

log = logging.getLogger(__name__)

THUMBNAIL = 320  # px, the longer side


class IconPage:
    """The lesson's page: choose a picture, press "Classify Icon", read the name and its probability.

    `export`: the path of an export.pkl, or a classifier that `load_classifier` returned.
    The parts are ordinary widgets, to be laid out as one likes: `about` says what the export can tell apart, and
    `label`, `upload`, `button`, `thumbnail` and `prediction` are the lesson's five; `style` holds their looks.
    Every failure becomes a sentence in `prediction`; nothing here raises at a visitor.
    """

    def __init__(self, export="export/export.pkl"):
        self.style = widgets.HTML(f"<style>{files(__package__).joinpath('page.css').read_text()}</style>")
        self.about = widgets.HTML()
        self.label = widgets.Label("Show it a picture of one of them:")
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="Choose a picture")
        self.button = widgets.Button(description="Classify Icon", button_style="primary")
        self.thumbnail = widgets.Output()
        self.prediction = widgets.Label()
        for part in ("about", "label", "upload", "button", "thumbnail", "prediction"):
            getattr(self, part).add_class(f"icon-{part}")

        self.classifier = self._no_model = None
        try:
            self.classifier = find_classifier(export) if isinstance(export, (str, Path)) else export
            self.about.value = html.escape(f"This page can tell apart {in_words(self.classifier.names)}.")
        except ExportError as error:
            self._no_model = str(error)
            self.about.value = html.escape(self._no_model)
        self.button.on_click(self._classify)
        self.upload.observe(self._show, "value")

    def _show(self, _change):
        """A new upload: show it at once, upright, and forget the last answer."""
        self.prediction.value = ""
        self.thumbnail.outputs = ()
        self._kindly(lambda: self._show_thumbnail(uploaded(self.upload)))

    def _show_thumbnail(self, content):
        if content is not None:
            jpeg = io.BytesIO()
            open_picture(content, longest=THUMBNAIL).save(jpeg, "JPEG", quality=85)
            shown = {"image/jpeg": base64.b64encode(jpeg.getvalue()).decode(), "text/plain": "your picture"}
            self.thumbnail.outputs = ({"output_type": "display_data", "data": shown, "metadata": {}},)

    def _classify(self, _button):
        self.button.disabled = True  # a second press while one runs does nothing twice
        self._kindly(self._predict)
        self.button.disabled = False

    def _predict(self):
        content = uploaded(self.upload)
        if self.classifier is None:
            self.prediction.value = self._no_model
        elif content is None:
            self.prediction.value = "Choose a picture first, then press the button."
        else:
            answer = self.classifier.predict(content)
            self.prediction.value = f"Prediction: {answer.name}; Probability: {answer.probability:.4f}"

    def _kindly(self, action):
        """Run `action`; whatever it raises reaches the visitor as a sentence and the log in full."""
        try:
            with memory.turn():
                action()
        except PictureError as error:
            self.prediction.value = str(error)
        except Exception:
            log.exception("the page failed")
            self.prediction.value = "Something went wrong on this side, not with your picture. Please try again."


def uploaded(upload):
    """The bytes of the newest file in a `FileUpload` of ipywidgets 7 (a dict by name) or 8 (a tuple), or None."""
    value = upload.value
    entries = list(value.values() if isinstance(value, dict) else value)
    return bytes(entries[-1]["content"]) if entries else None
