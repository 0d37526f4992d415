"""Labels: what a person typed becomes the name of a folder, on any system, and no two labels share one."""

import unicodedata

# What a file system refuses looks the same in Unicode's full width, so that the folder still reads as typed.
_LOOK_ALIKE = str.maketrans({sign: chr(ord(sign) + 0xFEE0) for sign in '<>:"/\\|?*'})
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
_OURS = {"train", "valid", "models", "@eadir", "__macosx", "manifest.csv"}  # what lies beside labels, or above them
MAX_FOLDER_BYTES = 150  # bytes; most file systems allow 255, and paths have limits too


class LabelError(ValueError):
    """This label cannot be a folder's name; the message says why."""


def clean_label(label):
    """`label` as it is shown: composed (NFC), without control characters, runs of white space made one space."""
    text = " ".join(unicodedata.normalize("NFC", str(label)).split())
    text = "".join(sign for sign in text if sign.isprintable())
    if not text:
        raise LabelError(f"A label must have something that can be read, and {label!r} has not. Give it another label.")
    return text


def safe_name(label):
    """A folder name for `label` that Linux, macOS and Windows accept, which fastai's get_image_files does not skip."""
    text = clean_label(label).translate(_LOOK_ALIKE)
    while len(text.encode()) > MAX_FOLDER_BYTES:
        text = text[:-1].rstrip()
    if text.startswith("."):  # hidden, or the way out of the folder
        text = "．" + text[1:]  # noqa: RUF001
    if text.endswith("."):  # Windows drops it
        text = text[:-1] + "．"  # noqa: RUF001
    stem, dot, rest = text.partition(".")
    if stem.strip().casefold() in _DEVICES:  # Windows means the device, whatever the ending
        text = f"{stem}_{dot}{rest}"
    return f"{text}_" if text.casefold() in _OURS else text


def folder_names(labels, known=()):
    """Give each of `labels` a folder of its own, also where upper and lower case are one; return {label: folder}.

    `known`: {label: folder} of labels that have one already, and keep it.
    """
    folders = dict(known)
    taken = {_same(folder) for folder in folders.values()}
    for label in labels:
        if label in folders:
            continue
        name, number = safe_name(label), 1
        folder = name
        while _same(folder) in taken:
            number += 1
            folder = f"{name} ({number})"
        folders[label] = folder
        taken.add(_same(folder))
    return {label: folders[label] for label in labels}


def _same(folder):
    return unicodedata.normalize("NFC", folder.casefold())
