"""Assign the files of a folder or a zip to labels, with one rule for all sources."""

import os
from collections import Counter
from pathlib import Path

from .manifest import is_dataset

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif", ".heic", ".heif"}
TRAIN = ("train", "training")
VALID = ("valid", "validation", "val")
TEST = ("test", "testing")
SYSTEM = {".ds_store", "thumbs.db", "desktop.ini", "icon\r"}  # created by operating systems
SKIPPED = {"@eadir": "@eaDir", "__macosx": "__MACOSX"}
SINGULAR = {
    "empty folders": "empty folder",
    "folders that are datasets": "folder that is a dataset",
    "folders that cannot be read": "folder that cannot be read",
    "incomplete tars": "incomplete tar",
}
MODELS = "models"  # created by fastai beside the labels


def is_label(folder):
    """Return whether a folder of this name, directly below the top, can be that of a label."""
    return not folder.startswith(".") and folder.casefold() not in {*SKIPPED, MODELS}


def find_images(folder, left_out=None):
    """Return [(path below `folder` with slashes, split or "", label)] of the images in it; see `labelled_of`."""
    left_out = Counter() if left_out is None else left_out
    return labelled_of(sorted(_walk(Path(folder), left_out)), left_out)


def _walk(top, left_out, inside=(), below=""):
    """Yield the paths of the files below the folder `top`, following links. `inside`: the real paths of its parents."""
    real = os.path.realpath(top)
    if real in inside:
        left_out["in a cycle of links"] += 1
        return
    if below and is_dataset(top):
        left_out["folders that are datasets"] += 1
        return
    try:
        entries = list(os.scandir(top))
    except OSError:
        left_out["folders that cannot be read"] += 1
        return
    if not entries:
        left_out["empty folders"] += 1
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path)):
            yield from _walk(entry.path, left_out, (*inside, real), f"{below}{entry.name}/")
        else:
            yield below + entry.name


def labelled_of(files, left_out):
    """Return [(file, split, label)] of the images among `files` (paths with slashes); count the others in `left_out`.

    The label is the folder directly below the top, or directly below train and valid (or their synonyms). Deeper
    folders belong to it. A single folder that contains everything is skipped.
    """
    found = []
    for file in files:
        parts = tuple(part for part in file.split("/") if part not in ("", "."))
        if reason := _unfit(parts):
            left_out[reason] += 1
        else:
            found.append((file, parts))
    found = _below_single_folder(found, left_out)
    splits = _splits([parts for _, parts in found])
    if not splits:
        return [(file, "", parts[0]) for file, parts in found]
    labelled = []
    for file, parts in found:
        top = parts[0].casefold()
        if top not in splits:
            left_out[f"in {parts[0]}, beside {' and '.join(splits)}"] += 1
        elif len(parts) == 2:
            left_out[f"loose in {parts[0]}"] += 1
        else:
            labelled.append((file, splits[top], parts[1]))
    return labelled


def _below_single_folder(found, left_out):
    """Remove outer folders that contain everything from the parts of `found`, a list of (file, parts).

    Files at the top and in fastai's folder models are left out.
    """
    while True:
        for _, parts in found:
            if len(parts) == 1:
                left_out["loose at the top"] += 1
            elif parts[0].casefold() == MODELS:
                left_out["in models"] += 1
        found = [(file, parts) for file, parts in found if len(parts) > 1 and parts[0].casefold() != MODELS]
        if len({parts[0] for _, parts in found}) != 1 or any(len(parts) == 2 for _, parts in found):
            return found
        found = [(file, parts[1:]) for file, parts in found]


def _splits(paths):
    """Return {folder in lower case: split} for the split of `paths` (tuples of parts); {} if they are not split."""
    tops = {parts[0].casefold() for parts in paths}
    with_files = {parts[0].casefold() for parts in paths if len(parts) == 2}
    with_folders = {parts[0].casefold() for parts in paths if len(parts) > 2}
    train = next((name for name in TRAIN if name in with_folders), None)
    valid = next((name for name in VALID + TEST if name in with_folders), None)
    if train and valid:
        return {train: "train", valid: "valid"}
    if train and train not in with_files and tops <= {train, *VALID, *TEST}:
        return {train: ""}  # the images of the other folder are not sorted into labels
    return {}


def _unfit(parts):
    """Return why the file with these path components is left out, or ""."""
    name = parts[-1].casefold()
    suffix = os.path.splitext(name)[1].rstrip(".")
    for part in parts[:-1]:
        if part.casefold() in SKIPPED:
            return f"in {SKIPPED[part.casefold()]}"
        if part.startswith("."):
            return "in hidden folders"
    if name in SYSTEM or name.startswith("._"):
        return "created by the operating system (such as .DS_Store)"
    if name.startswith("."):
        return "hidden"
    return "" if suffix in SUFFIXES else f"without an image's suffix ({suffix or 'none'})"


def in_words(left_out):
    """Return what was left out as one line, or "". `left_out`: a `Counter` of reasons."""
    reasons = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    counted = [f"{n} {SINGULAR.get(reason, reason) if n == 1 else reason}" for reason, n in reasons]
    return f"Left out: {', '.join(counted)}" if counted else ""


def readable(path):
    """Return a path as text, even if its bytes are not valid UTF-8."""
    try:
        path.encode()
        return path
    except UnicodeEncodeError:
        return os.fsencode(path).decode("cp1252", errors="replace")
