"""Join the JavaScript of a widget."""

from pathlib import Path


def join_scripts(*names):
    """Return the files `names` in this folder, one after another, because anywidget takes one module without imports.

    The last one has the module's `export`.
    """
    return "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)
