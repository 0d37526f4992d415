"""Write the static page of an export: a folder for any web host, and the same page as one HTML file."""

import os
import shutil
from pathlib import Path

from ..errors import IconClassifierError
from ..files import PARTIAL, write_atomic
from ..model.card import Card, sha256_of
from ..model.classifier import ONNX
from .content import Content
from .folder import site_files
from .one_file import one_file


class SiteError(IconClassifierError, RuntimeError):
    """The static page cannot be written. The message says why and what to do."""


def write_site(folder="export/site", export="export"):
    """Write the static page of an export to `folder`, and the same page as one file beside it; return both paths.

    export: the folder of the export, which needs an ONNX model.

    A previous page at `folder` is replaced. The same export gives the same bytes.
    Raises `SiteError`, and `CardError` if card.json is damaged.
    """
    folder = Path(folder)
    content = _read(Path(export))
    if folder.exists() and not _is_replaceable(folder):
        raise SiteError(f"{folder} contains other files. Name a folder that is empty or does not exist.")
    new = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(new, ignore_errors=True)
    for name, data in site_files(content).items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(new, folder)
    single = folder.with_name(folder.name + ".html")
    write_atomic(single, one_file(content))
    return folder, single


def _is_replaceable(folder):
    """Return whether `folder` is empty, or contains a page that `write_site` wrote."""
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / "model.txt").is_file())


def _read(export):
    """Return the `Content` for the export in a folder. Raises `SiteError`, and `CardError` if card.json is damaged."""
    pickle, onnx, card = (export / name for name in ("export.pkl", ONNX, "card.json"))
    compile_it = f"On a computer with fastai, run: icon-classifier compile {pickle}"
    if not (onnx.is_file() and card.is_file()):
        if pickle.is_file():
            raise SiteError(f"{export} contains no {ONNX}, which the static page needs. {compile_it}")
        raise SiteError(f"There is no model in {export} yet. To make one, run `make train`, or notebooks/train.ipynb.")
    found = Card.read(card)
    belong = found.onnx and found.onnx["sha256"] == sha256_of(onnx)
    if not belong or (pickle.is_file() and found.sha256 != sha256_of(pickle)):
        raise SiteError(f"{onnx} is damaged, or of another training than export.pkl and card.json. {compile_it}")
    return Content(found, onnx.read_bytes())
