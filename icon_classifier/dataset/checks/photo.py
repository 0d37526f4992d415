"""Read what the checks need to know about each photo, and define their findings."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageStat
from scipy.fft import dctn

from ...images import ImageError, open_image
from ..layout import find_images
from ..links import SourceError

MIN_CONTRAST = 5  # of 255, in a thumbnail; flatter ones have nothing to compare, and all hash alike
THUMBNAIL = (16, 16)  # px
HASHED = (32, 32)  # px; the grey levels that a perceptual hash is computed from
HASH_SIDE = 8  # frequencies of a perceptual hash, vertically and horizontally
MIN_CERTAIN_COEFFICIENT = 0.003  # of the norm of all coefficients; a copy can turn the sign of a smaller one

REVIEW = "review"  # a suggestion: only a person can decide


@dataclass(frozen=True)
class Photo:
    """A photo of a dataset.

    file: the path below the dataset, with slashes. sha256: of the file's bytes.
    width, height: px. brightness, contrast: the mean and the standard deviation of the grey levels (0 to 255).
    phash: its perceptual hash, an array (64,) as from `perceptual_hash`; None if the photo is flat.
    thumbnail: grey levels at 16 x 16 px as an array (256,) of mean 0 and norm 1; None if the photo is flat.
    problem: why the file cannot be decoded, or ""; such a photo has only a file, a label and a sha256.
    """

    file: str
    label: str
    sha256: str
    width: int = 0
    height: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    phash: np.ndarray | None = None
    thumbnail: np.ndarray | None = None
    problem: str = ""


@dataclass(frozen=True)
class Finding:
    """What a check found out about a photo.

    score: 0 to 1; the more suspicious, the higher. sentence: the reason, with its evidence.
    evidence: the file of another photo to show beside it, or "". suggested: EXCLUDE, RELABEL (see suspicion) or REVIEW.
    other_label: the label that the photo resembles, or under which it is as well; "" if there is none.
    """

    check: str
    file: str
    label: str
    score: float
    sentence: str
    evidence: str = ""
    suggested: str = REVIEW
    other_label: str = ""


def read_photos(folder, left_out=None):
    """Return a `Photo` per image of the dataset `folder`, sorted by file. Raises SourceError if there is none.

    left_out: a `Counter` that gets the reasons why other files were left out.
    """
    folder = Path(folder)
    listed = [(file, label) for file, _, label in find_images(folder, left_out)] if folder.is_dir() else []
    if not listed:
        raise SourceError(f"There are no images in {folder}. Name a folder that contains a folder per label.")
    return read_files([(folder / file, file, label) for file, label in listed])


def read_files(listed):
    """Return a `Photo` per (path, file, label) of `listed`, in this order."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter's lock
        return list(pool.map(lambda item: read_photo(*item), listed))


def read_photo(path, file, label):
    """Return the `Photo` for the file at `path`."""
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        return Photo(file, label, "", problem=f"The file cannot be read: {error.strerror or error}.")
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        image = open_image(body)
    except ImageError as error:
        return Photo(file, label, sha256, problem=str(error))
    grey = image.convert("L")
    levels = ImageStat.Stat(grey)
    found = Photo(file, label, sha256, *image.size, levels.mean[0], levels.stddev[0])
    levels = np.asarray(grey.resize(THUMBNAIL, Image.Resampling.LANCZOS), dtype=np.float32).ravel()
    if levels.std() < MIN_CONTRAST:
        return found
    levels -= levels.mean()
    return replace(found, phash=perceptual_hash(grey), thumbnail=levels / np.linalg.norm(levels))


def perceptual_hash(grey):
    """Return the signs (1, -1, or 0 for an uncertain one) of a grey image's 64 lowest frequencies, as an array (64,).

    A sign says whether a coefficient of the discrete cosine transform is above their median (C. Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). Half the coefficients of a symmetric
    drawing are about 0. Their signs would be noise, and a copy would have others, so they are left open.
    """
    coefficients = dctn(np.asarray(grey.resize(HASHED, Image.Resampling.LANCZOS), dtype=np.float32), norm="ortho")
    lowest = coefficients[:HASH_SIDE, :HASH_SIDE].ravel()
    coefficients[0, 0] = 0  # the brightness
    above = lowest - np.median(lowest)
    certain = np.abs(above) > MIN_CERTAIN_COEFFICIENT * np.linalg.norm(coefficients)
    return (np.sign(above) * certain).astype(np.int8)
