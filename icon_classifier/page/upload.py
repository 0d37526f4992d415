"""Define the widget with which a visitor uploads images."""

from pathlib import Path

import anywidget
import traitlets


class Photos(anywidget.AnyWidget):
    """Upload images that the visitor chooses, drops, pastes, photographs, or takes from `examples`.

    The browser rotates each image upright and scales it down (see upload.js), because decoding a photo of 12 megapixels
    on the server is expensive. It sends these messages, to which `on_msg` subscribes:

    - {"begin": number}: the previous images are replaced by this number of new ones.
    - {"name", "address"}: an image, with its file name and its address in the browser. The only buffer contains its
      bytes; there is no buffer if the browser could not read the file.
    - {"sent": number}: all images were sent. Those that have not come before this are lost.
    - {"nothing": True}: the visitor dropped or pasted something without a file.

    examples: dicts with a `name` and the bytes of an image as `content`.
    max_images: the maximum number of images at a time; the browser sends no more.
    said: the text that screen readers read aloud.
    """

    _esm = Path(__file__).with_name("upload.js")
    _css = Path(__file__).with_name("page.css")  # of all parts, because a page without this widget has no use
    examples = traitlets.List().tag(sync=True)
    max_images = traitlets.Int(20).tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
