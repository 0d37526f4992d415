"""Upper floor: the page's own widget, through which pictures come in."""

from pathlib import Path

import anywidget
import traitlets


class Photos(anywidget.AnyWidget):
    """Pictures that are chosen, dropped, pasted, photographed, or taken from `examples`.

    The browser turns each upright and makes it smaller (see upload.js), so that a photo of 12 megapixels costs the
    server little. It sends messages, to be had with `on_msg`: {"begin": number}, which replaces the pictures there
    were; then for each picture {"name", "address"}, its file's name and where the browser shows it, with its bytes as
    the only buffer, or none where it could not be read; and {"nothing": True} for what holds no file.

    examples: dicts with a `name` and the bytes of a picture as `content`.
    most: so many pictures at a time; the browser sends no more.
    said: what is read aloud to people who do not see the page.
    """

    _esm = Path(__file__).with_name("upload.js")
    examples = traitlets.List().tag(sync=True)
    most = traitlets.Int(20).tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
