"""Turn the labels that a person typed into folder names, valid on every system and different for each label."""

import unicodedata

from ..errors import IconClassifierError

# Characters that a file system refuses become their full-width forms, so that the folder name still looks as typed.
_LOOK_ALIKE = str.maketrans({sign: chr(ord(sign) + 0xFEE0) for sign in '<>:"/\\|?*'})
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
_OURS = {
    "train",
    "valid",
    "models",
    "@eadir",
    "__macosx",
    "manifest.csv",
}  # files and folders beside or above those of labels
MAX_FOLDER_BYTES = 150  # most file systems allow 255, but paths have limits as well


class LabelError(IconClassifierError, ValueError):
    """The label cannot be used as a folder name. The message says why and what to do."""


def clean_label(label):
    """Return `label` as it is shown: in NFC, without control characters, with white space collapsed.

    Raises `LabelError` if no visible characters are left.
    """
    text = " ".join(unicodedata.normalize("NFC", str(label)).split())
    text = "".join(sign for sign in text if sign.isprintable())
    if not text:
        raise LabelError(f"The label {label!r} has no visible characters. Choose another label.")
    return text


def safe_name(label):
    """Return a folder name for `label` that Linux, macOS and Windows accept, and that fastai does not skip."""
    text = clean_label(label).translate(_LOOK_ALIKE)
    while len(text.encode()) > MAX_FOLDER_BYTES:
        text = text[:-1].rstrip()
    if text.startswith("."):  # hidden, or the parent folder
        text = "．" + text[1:]  # noqa: RUF001
    if text.endswith("."):  # Windows removes it
        text = text[:-1] + "．"  # noqa: RUF001
    stem, dot, rest = text.partition(".")
    if stem.strip().casefold() in _DEVICES:  # a device on Windows, with any suffix
        text = f"{stem}_{dot}{rest}"
    return f"{text}_" if text.casefold() in _OURS else text


def folder_names(labels, known=()):
    """Return {label: folder} with a different folder per label, also on case-insensitive file systems.

    known: {label: folder} of labels that already have a folder and keep it.
    """
    folders = dict(known)
    taken = {_same(folder) for folder in folders.values()}
    for label in labels:
        if label in folders:
            continue
        name = safe_name(label)
        number = 1
        folder = name
        while _same(folder) in taken:
            number += 1
            folder = f"{name} ({number})"
        folders[label] = folder
        taken.add(_same(folder))
    return {label: folders[label] for label in labels}


def _same(folder):
    return unicodedata.normalize("NFC", folder.casefold())
