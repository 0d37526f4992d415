"""Keep what the checks found beside the photos, so that a review opens without checking thousands of photos again."""

import json
from pathlib import Path
from types import SimpleNamespace

from ...files import write_atomic
from ..manifest import writing

FILE = ".findings.jsonl"  # in the dataset


def write_findings(photos, findings):
    """Write `findings` to the dataset `photos`. Raises `DiskError`."""
    lines = "".join(json.dumps(vars(finding), ensure_ascii=False) + "\n" for finding in findings)
    with writing(photos):
        write_atomic(Path(photos) / FILE, lines.encode(errors="surrogateescape"))


def read_findings(photos):
    """Return the findings that were written to the dataset `photos`; [] if there are none.

    They have the attributes of `checks.photo.Finding`, whose module takes longer to import than a review to open.
    """
    path = Path(photos) / FILE
    if not path.exists():
        return []
    lines = path.read_bytes().decode(errors="surrogateescape").split("\n")
    return [SimpleNamespace(**json.loads(line)) for line in lines if line]
