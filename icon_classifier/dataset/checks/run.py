"""Run all checks that need no model on a dataset, order the photos by suspicion, and put the findings in words."""

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import groupby

from ..layout import in_words as left_out_in_words
from ..layout import readable
from ..suspicion import suspicion
from .degenerate import Degenerate
from .duplicates import Duplicates, LabelConflicts, duplicate_pairs
from .photo import read_photos


def find_all(folder):
    """Return (photos, findings, what was left out as a line or "") of the dataset `folder`.

    The findings are in the order of the checks, with paths that can be printed. Raises SourceError without an image.
    """
    left_out = Counter()
    photos = read_photos(folder, left_out)
    photos = [replace(photo, file=readable(photo.file), label=readable(photo.label)) for photo in photos]
    pairs = duplicate_pairs(photos)
    checks = (Degenerate(), Duplicates(pairs), LabelConflicts(pairs))
    return photos, [found for check in checks for found in check.find(photos)], left_out_in_words(left_out)


def by_suspicion(findings):
    """Return {file: its findings, the highest score first} with the most suspicious photo first."""
    reasons = defaultdict(list)
    for found in sorted(findings, key=lambda found: -found.score):
        reasons[found.file].append(found)
    return dict(sorted(reasons.items(), key=lambda item: suspicion(*item)))


def in_words(photos, findings):
    """Return `findings` as a table per check: the file, the suggestion, and the sentence with its evidence."""
    lines = [f"{len(photos)} photos, {len(findings)} findings. Nothing was changed."]
    width = max((len(found.file) for found in findings), default=0)
    for check, group in groupby(findings, key=lambda found: found.check):
        group = list(group)
        lines += ["", f"{check} ({len(group)})"]
        lines += [f"  {found.file:<{width}}  {found.suggested:<7}  {found.sentence}" for found in group]
    return "\n".join(lines)
