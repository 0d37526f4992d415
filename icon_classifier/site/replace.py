"""Replace the files of an earlier static page, and no other files."""

import re
from contextlib import suppress

from ..errors import IconClassifierError
from ..files import PARTIAL, write_atomic

# Nothing else gives files these names. An interrupted run leaves them, some without a complete index.html.
_OWN = re.compile(
    r"(page-[0-9a-f]{12}/[\w.]+|parts/(runtime|model)-[0-9a-f]{12}\.bin"
    rf"|licences/(onnxruntime-)?(LICENSE|ThirdPartyNotices\.txt))({PARTIAL})?|index\.html{PARTIAL}",
)
_OWN_FOLDERS = ("page-*", "parts", "licences")
_CONFIG = re.compile(rb'<script type="application/json" id="config">(\{"card": .*?)</script>')


class SiteError(IconClassifierError, RuntimeError):
    """The static page cannot be written. The message says why and what to do."""


def check_folder(folder):
    """Raise `SiteError` if `folder` contains something else than a static page, so that its files would be overwritten.

    Hidden files and CNAME are allowed, because hosts want a repository (.git) and the page's domain beside the page.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SiteError(f"{folder} is a file. Name a folder that is empty or does not exist.")
    if _is_page(folder / "index.html"):
        return
    for entry in sorted(folder.iterdir()):
        if not (entry.name.startswith(".") or entry.name == "CNAME"):
            for path in entry.iterdir() if entry.is_dir() else [entry]:
                if not _OWN.fullmatch(path.relative_to(folder).as_posix()):
                    raise SiteError(
                        f"{folder} contains other files, such as {entry.name}. Name a folder that is empty or does not "
                        "exist."
                    )


def check_single(path):
    """Raise `SiteError` if there is something else at `path` than a static page in one file."""
    if path.exists() and not _is_page(path, single=True):
        raise SiteError(f"{path} exists, and is not the page as one file, which would replace it. Name another folder.")


def _is_page(path, single=False):
    """Return whether a file is the HTML of a static page: the index.html of a folder, or if `single` the one file."""
    found = path.is_file() and _CONFIG.search(path.read_bytes())
    return bool(found) and (b'"worker": "page-' in found[1]) != single


def replace_files(folder, files):
    """Write the files of a static page, {path: bytes}, to `folder`, and remove those of an earlier page.

    All other files stay. If this is interrupted, the page in the folder is complete, or is not used by a server.
    """
    # Files in subfolders come first, because index.html names them and the names of the changed ones are new. A service
    # worker fetches index.html, so it comes after it. A server uses the page if there is model.txt.
    order = sorted(files, key=lambda name: ("/" not in name, name != "index.html", name == "model.txt"))
    for name in order:
        if name == "index.html":
            (folder / "model.txt").unlink(missing_ok=True)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, files[name])
    for pattern in _OWN_FOLDERS:
        for path in list(folder.glob(f"{pattern}/*")):
            name = path.relative_to(folder).as_posix()
            if _OWN.fullmatch(name) and name not in files:
                path.unlink()
                with suppress(OSError):  # it contains something else
                    path.parent.rmdir()
