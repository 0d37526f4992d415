"""Clean the outputs of executed notebooks: warnings, widget views without a kernel, duplicate and large images."""

import io
import re
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat
from PIL import Image

MAX_PNG = 40_000  # characters; a larger figure is stored with fewer colours
COLOURS = 48


def smaller(png):
    """Return a PNG (base64) with `COLOURS` colours."""
    image = Image.open(io.BytesIO(b64decode(png))).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


def tidy(output):
    """Return `output` as it should be kept, or None."""
    if output.get("name") == "stderr":
        return None
    if "text" in output:  # as in a terminal, a progress bar that was overwritten is removed
        output["text"] = re.sub(r"[^\n]*\r", "", output["text"])
        if not output["text"]:
            return None
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data:
        return None
    if data.get("text/html") == "":  # a progress bar that was cleared
        return None
    if "image/jpeg" in data:  # Pillow displays each image in two formats
        data.pop("image/png", None)
    if len(data.get("image/png", "")) > MAX_PNG:
        data["image/png"] = smaller(data["image/png"])
    return output


for path in sys.argv[1:] or map(str, Path(__file__).parent.rglob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in map(tidy, cell.outputs) if kept]
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)
