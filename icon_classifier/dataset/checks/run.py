"""Run all checks on a dataset, and put what they found in words."""

from collections import Counter
from dataclasses import replace
from itertools import groupby

from ..layout import in_words as left_out_in_words
from ..layout import readable
from .degenerate import Degenerate
from .duplicates import Duplicates, LabelConflicts
from .photo import read_photos

CHECKS = (Degenerate, Duplicates, LabelConflicts)


def find_all(folder):
    """Return (photos, findings, what was left out as a line or "") of the dataset `folder`.

    The findings are in the order of the checks, with paths that can be printed. Raises SourceError without an image.
    """
    left_out = Counter()
    photos = read_photos(folder, left_out)
    photos = [replace(photo, file=readable(photo.file), label=readable(photo.label)) for photo in photos]
    return photos, [found for check in CHECKS for found in check().find(photos)], left_out_in_words(left_out)


def in_words(photos, findings):
    """Return `findings` as a table per check: the file, the suggestion, and the sentence with its evidence."""
    lines = [f"{len(photos)} photos, {len(findings)} findings. Nothing was changed."]
    width = max((len(found.file) for found in findings), default=0)
    for check, group in groupby(findings, key=lambda found: found.check):
        group = list(group)
        lines += ["", f"{check} ({len(group)})"]
        lines += [f"  {found.file:<{width}}  {found.suggested:<7}  {found.sentence}" for found in group]
    return "\n".join(lines)
