"""Choose the folder of a dataset, and normalize photos that were added to it by hand."""

import hashlib
import os
from pathlib import Path

from PIL import Image

from ..images import ImageError, open_image
from .exclude import move_photo
from .ingest import MAX_SIDE, write_photo
from .labels import safe_name
from .layout import find_images
from .manifest import BY_HAND, EXCLUDED_FOLDER, FORGOTTEN, KEPT, Manifest, is_dataset, writing

RESERVED = {"sample", "search"}  # sources whose datasets have these folder names


def origin_of(source):
    """Return the path that a manifest records for `source`. A path in the home folder begins with "~/", for privacy."""
    path = Path(source).resolve()
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else path.as_posix()


def dataset_of(source, photos="photos"):
    """Return the folder below `photos` for the photos of `source`; each source has its own.

    source: "sample", "search" or a path. If the path is a dataset already, it is returned.
    """
    if source in RESERVED:
        return Path(photos) / source
    if is_dataset(source):
        return Path(source)
    path = Path(os.path.abspath(source))
    name = safe_name(path.name or "photos")
    folder = Path(photos) / name
    number = 1
    while (number == 1 and name.casefold() in RESERVED) or not _is_free(folder, path):
        number += 1
        folder = Path(photos) / f"{name} ({number})"
    return folder


def _is_free(folder, source):
    """Return whether `folder` can hold the photos of `source`, because it contains nothing else."""
    if not folder.exists():
        return True
    if not folder.is_dir() or folder.resolve() == source.resolve():
        return False
    if not any(folder.iterdir()):
        return True
    rows = Manifest(folder).rows if is_dataset(folder) else [{"origin": None, "decision": ""}]
    return {row["origin"] for row in rows if row["decision"] != FORGOTTEN} <= {origin_of(source), BY_HAND}


def normalize_added(manifest):
    """Normalize the photos that were added to a dataset by hand; return their number.

    The original files move to .excluded. A file that cannot be decoded stays, and verification finds it.
    """
    photos = manifest.photos
    count = 0
    changed = False
    listed = {row["file"] for row in manifest.rows if row["origin"] != BY_HAND}
    decided = {row["file"]: row for row in manifest.rows if row["origin"] == BY_HAND and row["decision"] == KEPT}
    for file, split, _ in find_images(photos):
        parts = file.split("/")
        folder = "/".join(parts[:2]) if split else parts[0]
        path = photos / file
        if file in listed or (path.parent == photos / folder and _is_normal(path)):
            continue
        try:
            body = path.read_bytes()
            image = open_image(body, max_side=MAX_SIDE)
        except (ImageError, OSError):
            continue
        name = f"{hashlib.sha256(body).hexdigest()[:16]}.jpg"
        with writing(photos):
            write_photo(photos / folder / name, image)
            move_photo(path, photos / EXCLUDED_FOLDER / file)
        if row := decided.get(file):  # its decision and its side of the split stay those of the photo
            first = row["given_file"] and f"{row['given_file'].rpartition('/')[0]}/{name}"
            sha256 = hashlib.sha256((photos / folder / name).read_bytes()).hexdigest()
            manifest.change(row, file=f"{folder}/{name}", given_file=first, sha256=sha256)
            changed = True
        count += 1
    if changed:
        manifest.save()
    return count


def _is_normal(path):
    """Return whether a file is normalized: every program that opens it gets the same upright sRGB pixels."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            plain = image.mode == "RGB" and "icc_profile" not in image.info and image.getexif().get(0x0112, 1) == 1
            return path.suffix == ".jpg" and plain and max(image.size) <= MAX_SIDE
    except Exception:  # not a JPEG, or a damaged one: damaged EXIF can raise anything
        return False
