"""Datasets: the folder that each source is gathered into, and pictures that somebody added there by hand."""

import hashlib
import os
from pathlib import Path

from PIL import Image

from ..images import ImageError, open_image
from .exclude import EXCLUDED_FOLDER, move_photo
from .ingest import MAX_SIDE, write_photo
from .labels import safe_name
from .layout import find_images
from .manifest import FORGOTTEN, Manifest, is_dataset, writing

RESERVED = {"sample", "search"}  # sources whose photos lie in the folders of these names


def origin_of(source):
    """The path by which a manifest remembers `source`; it does not tell the name of a person's home."""
    path, home = Path(source).resolve(), Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else path.as_posix()


def dataset_of(source, photos="photos"):
    """The folder below `photos` that the pictures of `source` are gathered into; each source has its own.

    `source`: "sample", "search" or a path. A folder that gathering filled is its own dataset.
    """
    if source in RESERVED:
        return Path(photos) / source
    if is_dataset(source):
        return Path(source)
    path, number = Path(os.path.abspath(source)), 1
    name = safe_name(path.name or "photos")
    folder = Path(photos) / name
    while (number == 1 and name.casefold() in RESERVED) or not _is_free(folder, path):
        number += 1
        folder = Path(photos) / f"{name} ({number})"
    return folder


def _is_free(folder, source):
    """Whether the photos of `source` may go to `folder`: nothing else is there."""
    if not folder.exists():
        return True
    if not folder.is_dir() or folder.resolve() == source.resolve():
        return False
    if not any(folder.iterdir()):
        return True
    rows = Manifest(folder).rows if is_dataset(folder) else [{"origin": None, "decision": ""}]
    return {row["origin"] for row in rows if row["decision"] != FORGOTTEN} <= {origin_of(source)}


def normalize_added(manifest):
    """Normalize the pictures that somebody added to a dataset by hand, as all others in it are; return how many.

    The original goes to .excluded. What cannot be opened stays where it is: verifying finds it.
    """
    photos, count = manifest.photos, 0
    listed = {row["file"] for row in manifest.rows}
    for file, split, _ in find_images(photos):
        folder = "/".join(file.split("/")[: 2 if split else 1])
        path = photos / file
        if file in listed or (path.parent == photos / folder and _is_normal(path)):
            continue
        try:
            body = path.read_bytes()
            image = open_image(body, longest=MAX_SIDE)
        except (ImageError, OSError):
            continue
        with writing(photos):
            write_photo(photos / folder / f"{hashlib.sha256(body).hexdigest()[:16]}.jpg", image)
            move_photo(path, photos / EXCLUDED_FOLDER / file)
        count += 1
    return count


def _is_normal(path):
    """Whether opening the file gives the very pixels that it holds, whoever opens it."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            plain = image.mode == "RGB" and "icc_profile" not in image.info and image.getexif().get(0x0112, 1) == 1
            return path.suffix == ".jpg" and plain and max(image.size) <= MAX_SIDE
    except Exception:  # no JPEG, or a damaged one: damaged EXIF raises anything
        return False
