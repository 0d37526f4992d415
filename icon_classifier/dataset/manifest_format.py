"""Parse the bytes of a manifest, also if another program has saved it."""

from .links import SourceError
from .table import decode, delimiter_of, fields_of, first_line

# `licence` is the search's filter. `given` is the label that the source gave, if cleaning has given the photo another
# label; `given_file` is the `file` that the photo had then, if it has another now. `origin` is the path of the source.
# `split` is the side of the training split (split.py). Other columns, such as those of earlier versions, are dropped.
COLUMNS = (
    "label file query source title page url licence time status type bytes sha256 width height "
    "decision reason given given_file origin split"
).split()
OURS = {"label", "url", "decision"}  # the columns that distinguish a manifest from another manifest.csv
SIDES = ("", "train", "valid")  # the values of the column `split`


def is_manifest(text):
    """Return whether the `text` of a table begins with the columns of a manifest."""
    try:
        return any(OURS <= set(fields) for fields in fields_of(first_line(text), delimiter_of(text)))
    except SourceError:
        return False


def parse(body, path=""):
    """Return (columns, rows, encoding, delimiter) of a manifest's bytes; the rows are dicts, one per line, not merged.

    A last line that a killed process has not completed is dropped. Columns that are missing are empty.
    Raises `SourceError`, which names the manifest's `path`.
    """
    text, encoding = decode(body, final=False)
    delimiter = delimiter_of(text)
    columns, *lines = fields_of(_without_torn_line(text, delimiter), delimiter, path) or [[]]
    lines = (dict(zip(columns, fields, strict=False)) for fields in lines)
    return columns, [{column: line.get(column, "") for column in COLUMNS} for line in lines], encoding, delimiter


def _without_torn_line(text, delimiter):
    """Return the `text` of a manifest without a last line that a killed process has not completed.

    Other programs may save the last line without a line break: it is complete if no field is missing or cut.
    """
    whole, end, last = text.rpartition("\n")
    if not end:
        return text
    try:
        columns, fields = fields_of(first_line(text) + last, delimiter)
    except (SourceError, ValueError):  # its quotation marks are incomplete, or it is empty
        return whole + end
    is_complete = len(fields) == len(columns) and dict(zip(columns, fields, strict=True)).get("split", "") in SIDES
    return text if is_complete else whole + end
