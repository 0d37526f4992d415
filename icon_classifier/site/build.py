"""Write the static page of an export: a folder for any web host, and the same page as one HTML file."""

from contextlib import contextmanager
from pathlib import Path

from ..files import write_atomic
from ..model.card import Card, sha256_of
from ..model.classifier import ONNX
from .content import TITLE, Content
from .folder import site_files
from .one_file import one_file
from .replace import SiteError, check_folder, check_single, replace_files


def write_site(folder="export/site", export="export", title=TITLE):
    """Write the static page of an export to `folder`, and the same page as one file beside it; return both paths.

    export: the folder of the export, which needs an ONNX model. title: the heading of the page.

    A previous page at `folder` is replaced; other files there, such as .git and CNAME, stay. The same export gives the
    same bytes. Raises `SiteError`, and `CardError` if card.json is damaged.
    """
    folder, export = Path(folder), Path(export)
    if folder.name in ("", ".."):  # the file beside it needs the folder's name
        folder = folder.resolve()
    single = Path(f"{folder}.html")
    with _os_errors(f"The export in {export} cannot be read"):
        card, onnx = _read(export)
    with _os_errors(f"The static page cannot be written to {folder}"):
        check_folder(folder)
        check_single(single)
        content = Content(card, onnx, " ".join(title.split()) or TITLE)
        replace_files(folder, site_files(content))
        write_atomic(single, one_file(content))
    return folder, single


@contextmanager
def _os_errors(sentence):
    """Turn an OSError in the body into a `SiteError` that begins with `sentence`."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise SiteError(f"{sentence} ({error.strerror or error}{where}).") from error


def _read(export):
    """Return the `Card` and the ONNX model's bytes of the export in a folder.

    Raises `SiteError`, and `CardError` if card.json is damaged.
    """
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
    return found, onnx.read_bytes()
