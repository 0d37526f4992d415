"""Find photos from which nothing can be learned: not decodable, too small, very long, or blank."""

from ..suspicion import EXCLUDE
from .photo import Finding

MIN_USEFUL_SIDE = 32  # px; a smaller photo is enlarged for training, and the network sees its blur
MAX_ASPECT = 4  # the longer side by the shorter; training crops a square, which shows little of a banner
MAX_BLANK_CONTRAST = 2  # of 255; see Photo.contrast


class Degenerate:
    """Photos that cannot be decoded, are too small, have an extreme aspect ratio, or are blank."""

    name = "degenerate"

    def find(self, photos):
        """Return a `Finding` per degenerate photo, in the order of `photos`."""
        return [
            Finding(self.name, photo.file, photo.label, score, sentence, suggested=EXCLUDE)
            for photo in photos
            for score, sentence in _problem(photo)
        ]


def _problem(photo):
    """Return [(score, sentence)] for the worst problem of `photo`, or []."""
    if photo.problem:
        return [(1.0, photo.problem)]
    if photo.contrast <= MAX_BLANK_CONTRAST:
        return [(1.0, "It is blank: all its pixels have nearly the same brightness.")]
    short, long = sorted((photo.width, photo.height))
    if short < MIN_USEFUL_SIDE:
        size = f"{photo.width} x {photo.height} pixels"
        return [(1 - short / (2 * MIN_USEFUL_SIDE), f"It has only {size}; less than {MIN_USEFUL_SIDE} show little.")]
    if long > MAX_ASPECT * short:
        shape = "wide" if photo.width > photo.height else "high"
        other = "high" if shape == "wide" else "wide"
        return [(1 - MAX_ASPECT * short / (2 * long), f"It is {long / short:.1f} times as {shape} as it is {other}.")]
    return []
