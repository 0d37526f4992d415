"""photos/manifest.csv: one row per link, failures included; no row is lost to a full disk or a killed kernel."""

import csv
import io
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .files import write_whole

# The licence is what the search was asked for; phash and group are for the cleaning. `given` is the label that the
# source gave, where cleaning has given the photo another; `origin` is the path of the source.
COLUMNS = (
    "label file query source title page url licence time status type bytes sha256 phash width height "
    "decision reason group given origin"
).split()

# What became of a link, in the column `decision`.
FOUND = "found"  # not fetched yet
KEPT = "kept"  # a photo, in `file`
REFUSED = "refused"  # no photo, and `reason` says why; not asked for again
LATER = "later"  # the same, but another time it may work, so the next run asks again
WITHDRAWN = "withdrawn"  # excluded because it is no longer asked for, or no longer in the source; comes back with it
EXCLUDED = "excluded"  # a photo, excluded in cleaning; stays there whatever the source says
FORGOTTEN = "forgotten"  # removed for ever, by its address
END = "end"  # no link: the search had no more than the rows before
OPEN = (FOUND, LATER)
UNWANTED = "It was asked to be forgotten."
SAME_ADDRESS = "The same address came up "  # how the reason begins of what is left out because it is there already
SAME_IMAGE = "The same picture as "
OURS = {"label", "url", "decision"}  # the columns by which a manifest is told from another list of that name


class ManifestError(ValueError):
    """The manifest cannot be read; the message says what to do."""


class DiskError(OSError):
    """The disk takes no more; the message says that nothing is lost, and what to do."""


class Manifest:
    """The rows of photos/manifest.csv, each a dict of strings by column; `photos` is the folder, made where missing."""

    def __init__(self, photos):
        self.photos = Path(photos)
        self.path = self.photos / "manifest.csv"
        self.rows = []
        self._open = {}  # (label as asked for, address, origin) -> the row that a later line replaces
        self.photos.mkdir(parents=True, exist_ok=True)
        self.path.with_suffix(".csv.part").unlink(missing_ok=True)
        if self.path.exists() and self.path.stat().st_size:
            self._read()

    def _read(self):
        text = self.path.read_bytes().decode("utf-8-sig", errors="replace")
        whole, _, torn = text.rpartition("\n")  # fields hold no line breaks: what follows the last one was cut off
        if not whole and ",".join(COLUMNS).startswith(torn):
            return self.path.unlink()  # the very first line
        lines = csv.DictReader(io.StringIO(whole))
        try:
            columns = lines.fieldnames or ()
            rows = [{column: line.get(column) or "" for column in COLUMNS} for line in lines]
        except csv.Error as error:
            raise ManifestError(f"Line {lines.line_num} of {self.path} cannot be read: {error}.") from None
        if not OURS <= set(columns):
            raise ManifestError(f"{self.path} is no list of photos that I know; move it away and gather again.")
        for row in rows:
            self._enter(row)
        if torn or len(rows) > len(self.rows) or list(columns) != COLUMNS:  # lines are appended in this order
            self.save()

    def _enter(self, row):
        """Add `row`, or let it take the place of the row of the same link that was open."""
        key = _key(row)
        entered = self._open.pop(key, None)
        if entered is None:
            entered = row
            self.rows.append(row)
        entered.update(row)
        if row["decision"] in OPEN:
            self._open[key] = entered
        return entered

    def add(self, *rows):
        """Append `rows` (dicts; missing columns stay empty) and return them; after an error the file is as before."""
        rows = [{column: one_line(row.get(column, "")) for column in COLUMNS} for row in rows]
        size = self.path.stat().st_size if self.path.exists() else 0
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        if not size:
            writer.writeheader()
        writer.writerows(rows)
        try:
            with writing(self.photos), open(self.path, "ab", buffering=0) as file:
                data = memoryview(text.getvalue().encode())
                while data:
                    data = data[file.write(data) :]
        except BaseException:
            if self.path.exists():
                os.truncate(self.path, size)
            raise
        return [self._enter(row) for row in rows]

    def reopen(self, row):
        """Let `row` be fetched again, for the label that it was asked for."""
        row.update(label=asked(row), given="", decision=FOUND, reason="", file="", sha256="", bytes="")
        self._open[_key(row)] = row

    def drop(self, rows):
        """Leave `rows`, some of these, out; `save` makes it last."""
        gone = set(map(id, rows))
        self.rows = [row for row in self.rows if id(row) not in gone]

    def change(self, row, **changes):
        """Let `row`, one of these, say something else; an open one stays open only if its decision does."""
        self._open.pop(_key(row), None)
        row.update(changes)
        if row["decision"] in OPEN:
            self._open[_key(row)] = row

    def save(self):
        """Write all rows anew, in one step: whoever reads sees the old file or the new one."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.photos):
            write_whole(self.path, text.getvalue().encode())

    def folders(self):
        """The folder of each label that has had a photo: {label as typed: folder}."""
        return {row["label"]: row["file"].split("/")[-2] for row in self.rows if row["file"]}

    def forget(self, url):
        """Delete what was got from `url` (a picture's or a page's address) and refuse it for ever; return the files.

        The same picture under another address goes too. An address that is not known yet is refused all the same.
        """
        if not url.strip():
            raise ValueError("Say which address is to be forgotten.")
        bodies = {row["sha256"] for row in self.rows if url in (row["url"], row["page"])} - {""}
        hit = [row for row in self.rows if url in (row["url"], row["page"]) or row["sha256"] in bodies]
        if not any(row["url"] == url for row in hit):
            hit += self.add({"url": url, "time": now()})
        stems = {Path(row["file"]).stem for row in hit if row["file"]}
        # It may have been excluded or given another name since, and be called "...-1.jpg" for it.
        gone = [file for file in self.photos.rglob("*.jpg") if file.stem.partition("-")[0] in stems]
        for file in gone:
            file.unlink()
        for row in hit:
            self.change(row, decision=FORGOTTEN, reason=UNWANTED, file="", title="")
        self.save()
        return gone


def is_dataset(folder):
    """Whether `folder` was filled by gathering: its pictures are normalized, and its manifest is one of ours."""
    path = Path(folder) / "manifest.csv"
    if not path.is_file():
        return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return set(file.readline(1000).strip().split(",")) >= OURS


def asked(row):
    """The label that the source gave to `row`, whatever cleaning has made of it."""
    return row["given"] or row["label"]


def _key(row):
    return asked(row), row["url"], row["origin"]


@contextmanager
def writing(photos):
    """Turn what the disk has against it into `DiskError`."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{photos} cannot be written to: {error.strerror or error}. What was gathered is safe; "
            "put that right and run this again, and it goes on from here."
        ) from error


def now():
    """The time as the manifest has it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def one_line(value):
    """`value` as a field: a row must be a line, so that a line that was cut off can be told."""
    return str(value).replace("\r", " ").replace("\n", " ")
