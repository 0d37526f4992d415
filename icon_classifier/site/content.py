"""Collect what both forms of the static page contain: the folder (folder.py) and the one file (one_file.py)."""

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.resources import files
from string import Template

from ..model.card import Card
from ..model.card_text import LIMITS, facts, in_words
from ..model.classifier import OOD_REASON
from ..page import render

STATIC = files(__package__) / "static"
RUNTIME = files(__package__) / "runtime"
PAGE = files(render.__package__)
TITLE = "Icon Classifier"
PRIVATE = "Your pictures stay on this device: this page has no server that could receive them."
SCRIPTS = [PAGE / "button.js", PAGE / "table.js", PAGE / "upload.js", RUNTIME / "ort.js"]  # besides those in STATIC


@dataclass
class Content:
    """The static page of a model, whatever its form.

    card: the `Card` of the export. onnx: the bytes of its ONNX model. title: the heading of the page.
    """

    card: Card
    onnx: bytes
    title: str = TITLE

    @cached_property
    def model(self):
        """The model, compressed, as bytes."""
        return gzip.compress(self.onnx, 9, mtime=0)

    @cached_property
    def runtime(self):
        """What runs the model, compressed, as bytes."""
        return (RUNTIME / "runtime.bin").read_bytes()

    @cached_property
    def scripts(self):
        """The text of each script by its file name."""
        own = [path for path in STATIC.iterdir() if path.name.endswith(".js") and path.name != "service_worker.js"]
        paths = sorted([*own, *SCRIPTS], key=lambda path: path.name)
        return {path.name: path.read_text(encoding="utf-8") for path in paths}

    @cached_property
    def styles(self):
        """The CSS of the page: that of the widgets, and the little that Voila adds to it."""
        return "".join(path.read_text(encoding="utf-8") for path in (PAGE / "page.css", STATIC / "site.css"))

    def config(self, **more):
        """Return what page.js has to know as an element of HTML; `more` depends on the form of the page."""
        config = {
            "card": {"labels": list(self.card.labels), "preprocessing": self.card.preprocessing},
            "detectsOod": self.card.detects_ood(),
            "reason": OOD_REASON,
            "examples": self.card.examples,
            "bytes": len(self.runtime) + len(self.model),
            **more,
        }
        text = json.dumps(config, ensure_ascii=False).replace("<", "\\u003c")  # else a label could end the element
        return f'<script type="application/json" id="config">{text}</script>'

    def html(self, csp, head, scripts):
        """Return the page as the bytes of HTML. head, scripts: elements for the ends of head and body."""
        page = Template((STATIC / "page.html").read_text(encoding="utf-8"))
        html = page.substitute(
            csp=csp,
            title=escape(self.title),
            head="\n".join(head),
            about=escape(f"This page can tell apart {in_words(self.card.labels)}."),
            facts=render.unfold("About this model", [*facts(self.card), *LIMITS, PRIVATE]),
            scripts="\n".join(scripts),
        )
        return html.encode()


def data_block(name, text):
    """Return an element that scripts can read by its id `name`, and that the browser does not run.

    text: JavaScript or base64.
    """
    return f'<script type="text/plain" id="{name}">{inline(text)}</script>'


def inline(script):
    """Return a script so that it can be inside of an element of HTML.

    A backslash, which changes no string of JavaScript, keeps `</script>` and `<!--` out.
    """
    return script.replace("</", "<\\/").replace("<!--", "<\\!--")
