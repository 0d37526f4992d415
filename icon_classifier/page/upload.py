"""The upload widget, through which pictures come in."""

from pathlib import Path

import anywidget
import traitlets


class Photos(anywidget.AnyWidget):
    """Pictures that are chosen, dropped, pasted, photographed, or taken from `examples`.

    The browser turns each picture upright and makes it smaller (see upload.js), so that a photo of 12 megapixels
    costs the server little. It sends messages, to which `on_msg` subscribes: {"begin": number}, which replaces the
    previous pictures; then for each picture {"name", "address"}, its file name and its address in the browser, with its
    bytes as the only buffer, or none if it could not be read; and {"nothing": True} if there was no file.

    examples: dicts with a `name` and the bytes of a picture as `content`.
    most: the number of pictures at a time; the browser sends no more.
    said: what screen readers read aloud.
    """

    _esm = Path(__file__).with_name("upload.js")
    examples = traitlets.List().tag(sync=True)
    most = traitlets.Int(20).tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
