"""Upper floor: the page's widgets, and what happens when a visitor uses them."""

import base64
import html
import io
import logging
from importlib.resources import files
from pathlib import Path

import ipywidgets as widgets

from ..card import LIMITS, in_words
from ..classifier import ExportError
from ..heat import heat_over
from ..pictures import PictureError, open_picture
from . import memory
from .preloaded import find_classifier

log = logging.getLogger(__name__)

THUMBNAIL = 320  # px, the longer side
BARS = 5  # names that get a bar; the others are less likely than these
SURE = (0.95, "Almost certainly"), (0.8, "Very likely"), (0.5, "Probably"), (0, "Perhaps")


class IconPage:
    """The lesson's page: choose a picture, press "Classify Icon", read the name and its probability.

    `export`: the path of an export.pkl, or a classifier that `load_classifier` returned.
    The parts are ordinary widgets, to be laid out as one likes, or left out: `label`, `upload`, `button`, `thumbnail`
    and `prediction` are the lesson's five, `style` holds their looks. `about` says what the export can tell apart,
    `note` says the answer in words, `bars` how the names compare, `look` shows where the model looked, and `facts`
    unfolds what the card says.
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
        self.note, self.bars, self.facts = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.look = widgets.Checkbox(description="Show where the model looked", indent=False)
        self.look.layout.display = "none"  # until there is something to show
        for part in "about label upload button thumbnail look prediction note bars facts".split():
            getattr(self, part).add_class(f"icon-{part}")

        self.classifier = self._no_model = None
        try:
            self.classifier = find_classifier(export) if isinstance(export, (str, Path)) else export
            self.about.value = html.escape(f"This page can tell apart {in_words(self.classifier.names)}.")
            if self.classifier.card:
                self.facts.value = unfold("About this model", [*self.classifier.card.facts(), *LIMITS, NOT_STORED])
        except ExportError as error:
            self._no_model = str(error)
            self.about.value = html.escape(self._no_model)
        self._picture = self._answer = None
        self.button.on_click(self._classify)
        self.upload.observe(self._show, "value")
        self.look.observe(lambda _change: self._kindly(self._draw), "value")

    def _show(self, _change):
        """A new upload: show it at once, upright, and forget the last answer."""
        self.prediction.value = self.note.value = self.bars.value = ""
        self.look.layout.display, self.look.value = "none", False
        self._picture = self._answer = None
        self._kindly(lambda: self._open(uploaded(self.upload)))

    def _open(self, content):
        self.thumbnail.outputs = ()
        if content is not None:
            self._picture = open_picture(content, longest=THUMBNAIL)
            self._draw()

    def _draw(self):
        """Show the picture, with the heat laid over it if that is wanted."""
        image, jpeg = self._picture, io.BytesIO()
        if self.look.value and self._answer:
            image = heat_over(image, self._answer.heat, self.classifier.card.preprocessing)
        image.save(jpeg, "JPEG", quality=85)
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
            answer = self.classifier.predict(content, heat=self.classifier.card is not None)
            self.prediction.value = f"Prediction: {answer.name}; Probability: {answer.probability:.4f}"
            self.note.value, self.bars.value = html.escape(in_a_sentence(answer)), bars(answer.probabilities)
            for part in (self.prediction, self.bars):
                (part.add_class if answer.known is False else part.remove_class)("icon-modest")
            self._answer = answer
            self.look.layout.display = "none" if answer.heat is None else ""

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


NOT_STORED = "Pictures that are shown to this page are not stored."


def in_a_sentence(answer):
    """A `Prediction` as one would say it."""
    if answer.known is False:
        return f"I don't think this is any of them; {answer.name} is only the nearest guess. {answer.reason}"
    return f"{next(words for least, words in SURE if answer.probability >= least)} {answer.name}."


def bars(probabilities):
    """HTML with a bar for each of the likeliest names of {name: probability}, which is in order."""
    rows = [
        f'<span>{html.escape(name)}</span><span class="icon-track"><i style="width:{probability:.1%}"></i></span>'
        f"<span>{probability:.1%}</span>"
        for name, probability in list(probabilities.items())[:BARS]
    ]
    left = len(probabilities) - len(rows)
    more = f"<p>and {left} less likely</p>" if left else ""
    return f'<div class="icon-chart">{"".join(rows)}</div>{more}'


def unfold(title, lines):
    """HTML with `title`, which unfolds to a list of `lines`."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<details><summary>{html.escape(title)}</summary><ul>{items}</ul></details>"


def uploaded(upload):
    """The bytes of the newest file in a `FileUpload` of ipywidgets 7 (a dict by name) or 8 (a tuple), or None."""
    value = upload.value
    entries = list(value.values() if isinstance(value, dict) else value)
    return bytes(entries[-1]["content"]) if entries else None
