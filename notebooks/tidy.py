"""Clean the outputs of executed notebooks: remove warnings, widget views without a kernel, and duplicate images."""

import re
import sys
from pathlib import Path

import nbformat


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
    return output


for path in sys.argv[1:] or map(str, Path(__file__).parent.rglob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in map(tidy, cell.outputs) if kept]
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)
