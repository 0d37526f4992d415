"""Define the widgets of the page, and respond when a visitor uses them."""

import base64
import io
import logging
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import ipywidgets as widgets

from ..images import ImageError, open_image
from ..model.card_text import LIMITS, facts, in_words
from ..model.classifier import ExportError, Prediction
from ..model.heatmap import overlay_heatmap
from . import render
from .button import Button
from .decode_lock import decode_lock
from .preload import find_classifier
from .table import Table
from .upload import Photos

log = logging.getLogger(__name__)

THUMBNAIL = 320  # px, the longer side of an image with the heatmap over it
MAX_PIXELS = 12_500_000  # per image; the browser scales images below this, if it can decode them and read their pixels
MAX_UPLOAD_BYTES = 16_000_000  # of all images on a page; twenty images that the browser scales have 5 MB at most
NOT_STORED = "This page does not store the pictures that you upload."
NO_FILE = "That contained no picture file. Save the picture first, then choose the file or drop it here."
SERVER_ERROR = "Something went wrong on the server. Your picture is fine. Please try again."


@dataclass
class Upload:
    """An uploaded image: its file name, its address in the browser, its bytes, and its problem or prediction."""

    name: str
    address: str
    content: bytes = b""
    problem: str = ""
    prediction: Prediction | None = None
    sentence: str = ""  # the prediction in words
    widget: widgets.HTML = field(default_factory=widgets.HTML)

    def draw(self, address=None):
        """Show the image with its problem or prediction. `address`: of another image to show instead."""
        shown = address or self.address
        self.widget.value = render.figure(self.name, shown, self.problem, self.prediction, self.sentence)

    def in_words(self):
        return self.problem or self.sentence

    def row(self):
        """Return the image's row of the table."""
        if not self.prediction:
            return self.name, "", "", self.problem
        remark = "probably none of them" if self.prediction.is_ood else ""
        return self.name, self.prediction.label, f"{self.prediction.probability:.4f}", remark


class IconPage:
    """The page of the fast.ai lesson: choose images, press "Classify Icon", read each label and its probability.

    export: the path of an export.pkl, or a classifier that `load_classifier` returned.

    The parts are widgets. A notebook can arrange them freely and leave some out:

    - about: the labels that the export can tell apart
    - label, upload, button: the lesson's own
    - note: progress and messages
    - look: a checkbox that shows the heatmaps
    - predictions: a card per image
    - table: a row per image, if there are several
    - facts: the facts of the model card, which unfold

    `css` is the style of all parts; add to it to change it.

    Every error becomes a sentence beside its image or in `note`. A visitor never sees a traceback.
    """

    def __init__(self, export="export/export.pkl"):
        self.about, self.note, self.facts = (widgets.HTML() for _ in range(3))
        self.label = widgets.Label("Show it a picture of one of them, or several:")
        self.button = Button(description="Classify Icon")
        self.look = widgets.Checkbox(description="Show where the model looked", indent=False)
        self.predictions = widgets.VBox()
        self.table = Table()
        self._uploads = []
        self._coming = 0  # the number of images that the browser is sending
        self._is_pressed = False  # whether the button was pressed before the last of them
        self._missing = ""  # why there is no classifier
        self.classifier = None
        examples = []
        try:
            self.classifier = find_classifier(export) if isinstance(export, (str, Path)) else export
            self.about.value = escape(f"This page can tell apart {in_words(self.classifier.labels)}.")
            if card := self.classifier.card:
                self.facts.value = render.unfold("About this model", [*facts(card), *LIMITS, NOT_STORED])
                examples = [{"name": label, "content": jpeg} for label, jpeg in card.images()]
        except ExportError as error:
            self._missing = str(error)
            self.about.value = escape(self._missing)
        self.upload = Photos(examples=examples)
        for part in "about label upload button note look predictions table facts".split():
            getattr(self, part).add_class(f"icon-{part}").add_class("icon-part")
        self._begin(0)
        self.upload.on_msg(self._receive)
        self.button.on_click(self._press)
        self.look.observe(lambda _change: self._draw(), "value")

    @property
    def css(self):
        return self.upload._css

    @css.setter
    def css(self, css):
        self.upload._css = css

    # Receive images

    def _receive(self, _upload, message, buffers):
        """Handle a message from the browser; see `Photos`."""
        if "begin" in message:
            self._begin(int(message["begin"]))
        elif "name" in message:
            self._add_image(Upload(str(message["name"]), str(message["address"])), buffers)
        elif "sent" in message:
            self._give_up_lost_images()
        else:
            self._say(NO_FILE)

    def _begin(self, number):
        """Remove the images and their predictions; the browser will send `number` new ones."""
        self.predictions.children = ()
        for each in self._uploads:
            each.widget.close()
        self._uploads = []
        self._coming = min(number, self.upload.max_images)
        self._is_pressed = False
        self.table.rows = []
        self.look.layout.display = "none"  # until there is a heatmap to show
        self.look.value = False
        left = number - self._coming
        self._say(f"This page takes {self._coming} pictures at a time; {left} were left out." if left else "")

    def _add_image(self, new, buffers):
        if self._is_complete():  # upload.js never sends more than it announced
            return

        def check():
            if not buffers:
                raise ImageError("This file could not be read. If it is a folder, choose the pictures in it.")
            if sum(len(each.content) for each in self._uploads) + len(buffers[0]) > MAX_UPLOAD_BYTES:
                raise ImageError("These pictures are too large together. Choose fewer at a time.")
            open_image(buffers[0], max_side=THUMBNAIL, max_pixels=MAX_PIXELS)
            new.content = bytes(buffers[0])

        self._report_errors(check, new)
        new.draw()
        self._uploads.append(new)
        if self._is_complete():
            self.button.focus()  # before the last image is shown, so that Enter classifies as soon as it is
        self.predictions.children = [each.widget for each in self._uploads]
        if self._is_complete():
            good = sum(not each.problem for each in self._uploads)
            images = "1 picture" if good == 1 else f"{good} pictures"
            ready = f"{images} to classify." if good else ""
            self.upload.said = " ".join(filter(None, [*(each.problem for each in self._uploads), ready]))
        if self._is_pressed:
            self._continue()

    def _is_complete(self):
        return len(self._uploads) == self._coming

    def _give_up_lost_images(self):
        """Go on with the images that have come. The connection was lost while the others were sent."""
        lost = self._coming - len(self._uploads)
        if lost:
            self._coming = len(self._uploads)
            if self._is_pressed:
                self._classify()
            words = (
                "1 picture did not arrive. Choose it" if lost == 1 else f"{lost} pictures did not arrive. Choose them"
            )
            self._say(f"{words} again.")

    # Show predictions

    def _press(self, _button):
        if self._missing or not self._coming:
            self._say(self._missing or "Choose a picture first, then press the button.")
        elif self._is_pressed and self._uploads:  # a visitor who presses again does not want to wait for the rest
            self._classify()
        else:
            self._is_pressed = True
            self._continue()

    def _continue(self):
        """Classify the images if all have come."""
        if self._is_complete():
            self._classify()
        else:
            self._show_progress(f"Receiving picture {len(self._uploads) + 1} of {self._coming} …")

    def _classify(self):
        """Classify the images that have no prediction yet, so that a second press does not repeat the work."""
        waiting = [each for each in self._uploads if each.content and not each.prediction]
        for number, each in enumerate(waiting, 1):
            self._show_progress(f"Classifying picture {number} of {len(waiting)} …")
            each.problem = ""
            self._report_errors(lambda each=each: self._predict(each), each)
            each.draw()
        self.note.value = ""
        if waiting:
            several = len(self._uploads) > 1
            self.table.rows = [each.row() for each in self._uploads] if several else []
            results = [f"{each.name}: {each.in_words()}" if several else each.in_words() for each in self._uploads]
            self.upload.said = " ".join(results)
            if any(each.prediction and each.prediction.heatmap is not None for each in self._uploads):
                self.look.layout.display = ""

    def _predict(self, each):
        card = self.classifier.card
        each.prediction = self.classifier.predict(each.content, heatmap=bool(card and card.preprocessing))
        each.sentence = render.in_a_sentence(each.prediction, card is not None and card.detects_ood())

    def _draw(self):
        """Show the images again, with their heatmaps if the checkbox is ticked."""
        for each in self._uploads:
            if each.prediction and each.prediction.heatmap is not None:
                self._report_errors(lambda each=each: each.draw(self._heated(each) if self.look.value else None), each)

    def _heated(self, each):
        """Return a data URL of the image with its heatmap over it."""
        image = open_image(each.content, max_side=THUMBNAIL)
        jpeg = io.BytesIO()
        overlaid = overlay_heatmap(image, each.prediction.heatmap, self.classifier.card.preprocessing)
        overlaid.save(jpeg, "JPEG", quality=85)
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"

    # Messages and errors

    def _show_progress(self, words):
        self.note.value = f'<span class="icon-busy">{words}</span>'

    def _say(self, words):
        """Show plain text on the page and let screen readers read it aloud."""
        self.upload.said = ""  # otherwise the same text would not be read aloud a second time
        self.upload.said = words
        self.note.value = escape(words)

    def _report_errors(self, action, about):
        """Run `action`. Show an exception as a sentence beside the image `about`, and log an unexpected one."""
        try:
            with decode_lock():
                action()
        except ImageError as error:
            about.problem = str(error)
        except Exception:
            log.exception("the page failed")
            about.problem = SERVER_ERROR
