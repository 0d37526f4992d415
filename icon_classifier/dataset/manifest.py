"""Read and write manifest.csv: one row per link, failures included. A full disk or a killed kernel loses no row.

Several processes can append to it, such as two tabs of a review: each takes the lock, and reads what the others wrote.
"""

import csv
import io
import os
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import IconClassifierError
from ..files import PARTIAL, write_atomic

# `licence` is the search's filter. `phash` and `group` are for cleaning. `given` is the label that the source gave, if
# cleaning has given the photo another label. `origin` is the path of the source.
COLUMNS = (
    "label file query source title page url licence time status type bytes sha256 phash width height "
    "decision reason group given origin split"
).split()

# The values of the column `decision`: what became of a link.
FOUND = "found"  # not fetched yet
KEPT = "kept"  # a photo, in `file`
REFUSED = "refused"  # not a photo; `reason` says why; it is not fetched again
LATER = "later"  # not a photo; the next run tries again
WITHDRAWN = "withdrawn"  # excluded because its search or source no longer has it; restored when it has it again
EXCLUDED = "excluded"  # a photo that was excluded in cleaning; it stays excluded
FORGOTTEN = "forgotten"  # deleted by its address, and never fetched again
END = "end"  # not a link: the search has no results beyond the rows before
OPEN = (FOUND, LATER)
WITH_PHOTO = (KEPT, WITHDRAWN, EXCLUDED)  # rows whose `file` exists, in its folder or in .excluded
UNWANTED = "It was asked to be forgotten."
SAME_ADDRESS = "The same address came up "  # the reason's beginning for an address that occurs twice
SAME_IMAGE = "The same picture as "  # the reason's beginning for the same bytes at another address
OURS = {"label", "url", "decision"}  # the columns that distinguish a manifest from another manifest.csv
BY_HAND = "elsewhere"  # the origin of a photo that was added by hand; its `url` is the path that it had then
LOCK = ".manifest.lock"  # beside the manifest
LOCK_TIMEOUT = 20  # seconds; others hold the lock for less than one
COMPARED_BYTES = 1000  # before the end that was last known, to notice that another process has written the file anew


class ManifestError(IconClassifierError, ValueError):
    """The manifest cannot be read. The message says why and what to do."""


class DiskError(IconClassifierError, OSError):
    """The disk cannot be written to. The message says that nothing is lost, and what to do."""


class Manifest:
    """The rows of manifest.csv in the folder `photos`, each a dict of strings by column. Creates a missing folder."""

    def __init__(self, photos):
        self.photos = Path(photos)
        self.path = self.photos / "manifest.csv"
        self.rows = []
        self._open = {}  # (label as asked for, address, origin) -> the row that a later line replaces
        self._with_photo = {}  # the same for rows with a photo, and its SHA-256
        self.repeats = False  # whether the file holds lines that later lines replace; `save` removes them
        self._known = (0, b"")  # the size of what was read or written, and its last bytes
        self._lock = FileLock(self.photos / LOCK)
        self.photos.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + PARTIAL)
        if partial.exists() or (self.path.exists() and self.path.stat().st_size):
            with self.locked() if os.access(self.photos, os.W_OK) else nullcontext():
                partial.unlink(missing_ok=True)
                if self.path.exists():
                    self._read()

    @contextmanager
    def locked(self):
        """Let no other process write within a `with` block, which can be nested. Raises `DiskError`."""
        try:
            with writing(self.photos):
                self._lock.acquire(LOCK_TIMEOUT)
        except Timeout:
            raise DiskError(
                f"Another program has been writing to {self.path} for {LOCK_TIMEOUT} s. End it, and try again."
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def refresh(self):
        """Read what other processes wrote since this one last read or wrote; return the rows that it concerns.

        If the file was written anew, these are all rows, and they are new dicts.
        """
        with self.locked():
            added = self._appended()
            if added == b"":
                return []
            whole, _, torn = (added or b"").rpartition(b"\n")
            if added is None or torn:  # another process wrote the file anew, or was killed while it appended
                self.rows, self._open, self._with_photo = [], {}, {}
                self._read()
                return self.rows
            self._note_size()
            lines = csv.DictReader(io.StringIO(whole.decode(errors="replace")), COLUMNS)
            return [self._enter({column: line.get(column) or "" for column in COLUMNS}) for line in lines]

    def _appended(self):
        """Return the bytes that other processes have appended; None if one has written the file anew."""
        size, end = self._known
        if not self.path.exists() or not self.path.stat().st_size:
            return b""
        with open(self.path, "rb") as file:
            file.seek(size - len(end))
            return file.read() if size and file.read(len(end)) == end else None

    def _note_size(self):
        """Note what is in the file now."""
        with open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - COMPARED_BYTES))
            self._known = (size, file.read())

    def _read(self):
        self._note_size()
        text = self.path.read_bytes().decode("utf-8-sig", errors="replace")
        whole, _, torn = text.rpartition("\n")  # fields contain no line breaks: the rest is incomplete
        if not whole and ",".join(COLUMNS).startswith(torn):
            return self.path.unlink()  # only the first line was being written
        lines = csv.DictReader(io.StringIO(whole))
        try:
            columns = lines.fieldnames or ()
            rows = [{column: line.get(column) or "" for column in COLUMNS} for line in lines]
        except csv.Error as error:
            raise ManifestError(
                f"Line {lines.line_num} of {self.path} cannot be read: {error}. Correct the line, or delete it."
            ) from None
        if not OURS <= set(columns):
            raise ManifestError(f"{self.path} is not a manifest of this project. Move it away and gather again.")
        for row in rows:
            self._enter(row)
        if torn or list(columns) != COLUMNS:  # `add` appends lines with these columns
            self._write()

    def _enter(self, row):
        """Add `row`, or replace the open row of the same link or the row of the same photo."""
        key = _key(row)
        photo = _photo_key(row)
        entered = self._open.pop(key, None)
        if entered is None and photo:
            entered = self._with_photo.get(photo)
            if entered and _photo_key(entered) != photo:
                entered = None  # it was changed since
        if entered is None:
            entered = row
            self.rows.append(row)
        else:
            self.repeats = True
        entered.update(row)
        if row["decision"] in OPEN:
            self._open[key] = entered
        if photo:
            self._with_photo[photo] = entered
        return entered

    def add(self, *rows):
        """Append `rows` (dicts; missing columns stay empty) and return them. An error leaves the file unchanged.

        A row replaces the open row of the same link, or the row of the same photo (its link and its SHA-256).
        """
        rows = [{column: one_line(row.get(column, "")) for column in COLUMNS} for row in rows]
        with self.locked():
            self.refresh()
            self._append(rows)
            return [self._enter(row) for row in rows]

    def _append(self, rows):
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
        self._note_size()

    def reopen(self, row):
        """Reset `row` so that it is fetched again, with the label that its source gave."""
        row.update(label=asked(row), given="", decision=FOUND, reason="", file="", sha256="", bytes="")
        self._open[_key(row)] = row

    def drop(self, rows):
        """Remove `rows` from the manifest; call `save` to write this."""
        gone = set(map(id, rows))
        self.rows = [row for row in self.rows if id(row) not in gone]

    def change(self, row, **changes):
        """Change columns of `row`; call `save` to write this. The new decision determines whether the row is open."""
        self._open.pop(_key(row), None)
        row.update(changes)
        if row["decision"] in OPEN:
            self._open[_key(row)] = row

    def save(self):
        """Write all rows, atomically, and those that other processes have appended."""
        with self.locked():
            if self._appended():
                self.refresh()
            self._write()

    def _write(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.photos):
            write_atomic(self.path, text.getvalue().encode())
        self.repeats = False
        self._note_size()

    def folders(self):
        """Return {label as typed: folder} of the labels that have or had a photo."""
        return {row["label"]: row["file"].split("/")[-2] for row in self.rows if row["file"]}

    def forget(self, url):
        """Delete the photos from `url` (the address of an image or a page), and never fetch it again.

        Photos with the same bytes from other addresses are deleted as well. An address that is not in the manifest yet
        is added. Returns the deleted files. Raises ValueError if `url` is empty.
        """
        if not url.strip():
            raise ValueError("forget() needs the address of an image or a page: say which address to forget.")
        bodies = {row["sha256"] for row in self.rows if url in (row["url"], row["page"])} - {""}
        hit = [row for row in self.rows if url in (row["url"], row["page"]) or row["sha256"] in bodies]
        if not any(row["url"] == url for row in hit):
            hit += self.add({"url": url, "time": now()})
        stems = {Path(row["file"]).stem for row in hit if row["file"]}
        # A photo that was excluded or relabelled may have the file name "...-1.jpg".
        gone = [file for file in self.photos.rglob("*.jpg") if file.stem.partition("-")[0] in stems]
        for file in gone:
            file.unlink()
        for row in hit:
            self.change(row, decision=FORGOTTEN, reason=UNWANTED, file="", title="")
        self.save()
        return gone


def is_dataset(folder):
    """Return whether `folder` is a dataset of this project: it has a manifest, and its photos are normalized."""
    path = Path(folder) / "manifest.csv"
    if not path.is_file():
        return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return set(file.readline(1000).strip().split(",")) >= OURS


def asked(row):
    """Return the label that the source gave to `row`, which cleaning may have changed."""
    return row["given"] or row["label"]


def _key(row):
    return asked(row), row["url"], row["origin"]


def _photo_key(row):
    """Return what identifies the photo of `row`, whatever is decided about it; None if it has no photo."""
    has_photo = row["decision"] in WITH_PHOTO and row["sha256"]
    return (*_key(row), row["sha256"]) if has_photo else None


@contextmanager
def writing(photos):
    """Raise an OSError of the block as a `DiskError`."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{photos} cannot be written to: {error.strerror or error}. What was gathered is safe. "
            "Solve this and run it again: it will continue from here."
        ) from error


def now():
    """Return the current time in the manifest's format: UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def one_line(value):
    """Return `value` as text without line breaks, so that an incomplete row can be recognized."""
    return str(value).replace("\r", " ").replace("\n", " ")
