"""Read tables of addresses (CSV, TSV and TXT), whichever program saved them."""

import codecs
import csv
import io

from .links import SourceError

BOMS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_FIELD = 2**31 - 1  # characters; csv's own limit is 131,072


def decode(body, final=True):
    """Return (text, encoding) of a table's bytes: UTF-8, UTF-16 (Excel's "Unicode text"), or else Windows-1252.

    All line breaks become "\n". final: False drops a UTF-8 character that is incomplete at the end.
    """
    if body.startswith(BOMS_OF_UTF_16):
        encoding = "utf-16"
    elif b"\0" in body[:2]:  # UTF-16 without a byte order mark, because the first character of a table is ASCII
        encoding = "utf-16-be" if body[0] == 0 else "utf-16-le"
    else:
        encoding = "utf-8"
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(body, final)
        except UnicodeDecodeError:
            encoding = "cp1252"  # Excel's CSV
    if encoding != "utf-8":
        text = body.decode(encoding, errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def first_line(text):
    """Return the first line of a table that is not empty."""
    return next(filter(str.strip, io.StringIO(text)), "")


def delimiter_of(text):
    """Return what separates the fields of a table: a comma, a semicolon or a tab."""
    first = first_line(text)
    if "\t" in first:
        return "\t"
    return ";" if ";" in first and "," not in first else ","


def fields_of(text, delimiter, path=""):
    """Return the fields of each line that is not empty. Raises `SourceError`, which names the table's `path`."""
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(MAX_FIELD)
    try:
        return [fields for fields in lines if any(field.strip() for field in fields)]
    except csv.Error as error:
        where = f"Line {lines.line_num} of {path} cannot be read: {error}."
        raise SourceError(f"{where} Correct its quotation marks, or delete the line.") from None
    finally:
        csv.field_size_limit(before)
