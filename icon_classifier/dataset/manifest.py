"""Read and write manifest.csv: one row per link, failures included. A full disk or a killed kernel loses no row.

Several processes can append to it, such as two tabs of a review: each takes the lock, and reads what the others wrote.
"""

import csv
import io
import os
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import IconClassifierError
from ..files import PARTIAL, write_atomic
from .links import SourceError
from .manifest_format import COLUMNS, OURS, is_manifest, parse
from .table import decode

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
SAME_IMAGE = "The same image as "  # the reason's beginning for the same bytes at another address
SAME_PICTURE = "The same picture as "  # the same in manifests of earlier versions
EXCLUDED_FOLDER = ".excluded"  # in the dataset; find_photos and fastai's get_image_files skip hidden folders
BY_HAND = "elsewhere"  # the origin of a photo that was added by hand; its `url` is the path that it had then
LOCK = ".manifest.lock"  # beside the manifest
LOCK_TIMEOUT = 20  # seconds; others hold the lock for less than one
COMPARED_BYTES = 1000  # before the end that was last known, to notice that another process has rewritten the file
MAX_HEADER_BYTES = 4000  # other programs may have added columns
HEADER = ",".join(COLUMNS).encode()


class ManifestError(IconClassifierError, ValueError):
    """The manifest cannot be read. The message says why and what to do."""


class DiskError(IconClassifierError, OSError):
    """The disk cannot be written to. The message says that nothing is lost, and what to do."""


class MergedRows:
    """The rows of a manifest's lines, each a dict of strings by column: the last line of a link or photo counts."""

    def __init__(self, rows=()):
        self.rows = []
        self._open = {}  # (label as asked for, address, origin) -> the row that a later line replaces
        self._with_photo = {}  # the same for rows with a photo, and its SHA-256
        self.repeats = False  # whether there were lines that later lines replace
        for row in rows:
            self._enter(row)

    def _enter(self, row):
        """Add `row`, or replace the open row of the same link or the row of the same photo."""
        key = _key(row)
        photo = photo_key(row)
        entered = self._open.pop(key, None)
        if entered is None and photo:
            entered = self._with_photo.get(photo)
            if entered and photo_key(entered) != photo:
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

    def reopen(self, row):
        """Reset `row` so that it is fetched again, with the label that its source gave."""
        row.update(label=asked(row), given="", given_file="", decision=FOUND, reason="", file="", sha256="", bytes="")
        self._open[_key(row)] = row

    def drop(self, rows):
        """Remove `rows` from the manifest; `Manifest.save` writes this."""
        gone = set(map(id, rows))
        self.rows = [row for row in self.rows if id(row) not in gone]

    def change(self, row, **changes):
        """Change columns of `row`; `Manifest.save` writes this. The new decision determines whether the row is open."""
        self._open.pop(_key(row), None)
        row.update(changes)
        if row["decision"] in OPEN:
            self._open[_key(row)] = row


class Manifest(MergedRows):
    """The rows of manifest.csv in the folder `photos`, which is created. Raises `ManifestError`."""

    def __init__(self, photos):
        super().__init__()
        self.photos = Path(photos)
        self.path = self.photos / "manifest.csv"
        self._written = {}  # id of a row -> (a copy of it as it is in the file, the row)
        self._known = (0, b"")  # the size of what was read or written, and its last bytes
        self._lock = FileLock(self.photos / LOCK)
        self.photos.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + PARTIAL)
        if partial.exists() or (self.path.exists() and self.path.stat().st_size):
            with self.locked_if_writable():
                if self.writable:
                    partial.unlink(missing_ok=True)
                if self.path.exists():
                    self._read()

    @contextmanager
    def locked(self):
        """Let no other process write within a `with` block, which can be nested. Raises `DiskError`."""
        with writing(self.photos):
            try:
                self._lock.acquire(LOCK_TIMEOUT)
            except Timeout:  # an OSError, too
                raise DiskError(
                    f"Another program has been writing to {self.path} for {LOCK_TIMEOUT} s. End it, and try again."
                ) from None
        try:
            yield
        finally:
            self._lock.release()

    @property
    def writable(self):
        """Return whether files can be created in the dataset."""
        paths = [self.photos, *(path for path in (self.path, self.photos / LOCK) if path.exists())]
        return all(os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids) for path in paths)

    def locked_if_writable(self):
        """Return a context as `locked`, to read only: a dataset that cannot be written to can be read without it."""
        return self.locked() if self.writable else nullcontext()

    def refresh(self):
        """Read what other processes wrote since this one last read or wrote; return the rows that it concerns.

        If the file was rewritten, these are all rows, and they are new dicts.
        """
        with self.locked_if_writable():
            added = self._appended()
            if added == b"":
                return []
            if added is None or not added.endswith(b"\n"):  # it was rewritten, or a process was killed while appending
                self._read_again()
                return self.rows
            try:
                rows, _ = read_rows(HEADER + b"\n" + added, self.path)
            except ManifestError:  # the error of the whole file names the right line
                self._read_again()
                return self.rows
            self._note_size()
            return [self._enter(row) for row in rows]

    def _read_again(self):
        """Read the whole file, and repeat the unsaved changes of rows that are in it as they were before.

        What another process has changed stays as that one wrote it.
        """
        present = set(map(id, self.rows))
        changed = [(old, row) for old, row in self._written.values() if id(row) not in present or row != old]
        self._read()
        same = defaultdict(list)
        for row in self.rows if changed else ():
            same[tuple(row.values())].append(row)
        for old, row in changed:
            if not same[tuple(old.values())]:
                continue
            found = same[tuple(old.values())].pop()
            if id(row) in present:
                self.change(found, **row)
            else:
                self.drop([found])

    def _appended(self):
        """Return the bytes that other processes have appended; None if one has rewritten the file."""
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
        """Read the whole file. If it cannot be read, the rows stay as they were, and the next call tries again."""
        body = self.path.read_bytes()
        torn = HEADER.startswith(body)  # only the first line was being written
        rows, is_ours = ([], True) if torn else read_rows(body, self.path)
        super().__init__()
        self._written = {}
        for row in rows:
            self._enter(row)
        self._known = (len(body), body[-COMPARED_BYTES:])
        if torn and self.writable:
            self.path.unlink()
        elif self.writable and not is_ours:  # `add` appends lines to it
            self._write()

    def _enter(self, row):
        entered = super()._enter(row)
        self._written[id(entered)] = (dict(entered), entered)
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

    def save(self):
        """Write all rows, atomically; those that other processes have changed since, as these wrote them."""
        with self.locked():
            if self._appended() != b"":
                self._read_again()
            self._write()

    def _write(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.photos):
            write_atomic(self.path, text.getvalue().encode())
        self.repeats = False
        self._written = {id(row): (dict(row), row) for row in self.rows}
        self._note_size()

    def place(self, row):
        """Return the path of the photo of `row`; it is in .excluded if the row says so."""
        excluded = row["decision"] in (EXCLUDED, WITHDRAWN)
        return self.photos / (EXCLUDED_FOLDER if excluded else "") / row["file"]

    def folders(self):
        """Return {label as typed: folder} of the labels that have or had a photo."""
        found = {}
        for row in self.rows:
            for label, file in ((row["label"], row["file"]), (row["given"], row["given_file"])):
                if label and file and label not in found:  # a photo that was added by hand can be in a deeper folder
                    *folders, _ = file.split("/")
                    found[label] = label if label in folders else folders[-1]
        return found

    def forget(self, url):
        """Delete the photos from `url` (the address of an image or a page), and never fetch it again.

        Photos with the same bytes from other addresses are deleted as well. An address that is not in the manifest yet
        is added. Returns the deleted files. Raises ValueError if `url` is empty.
        """
        if not url.strip():
            raise ValueError("forget() needs the address of an image or a page: say which address to forget.")
        with self.locked():
            self.refresh()
            bodies = {row["sha256"] for row in self.rows if url in (row["url"], row["page"])} - {""}
            hit = [row for row in self.rows if url in (row["url"], row["page"]) or row["sha256"] in bodies]
            if not any(row["url"] == url for row in hit):
                hit += self.add({"url": url, "time": now()})
            gone = self._files_of(hit)
            for file in gone:
                file.unlink()
            for row in hit:
                self.change(row, decision=FORGOTTEN, reason=UNWANTED, file="", given_file="", title="")
            self.save()
        return gone

    def _files_of(self, rows):
        """Return the files of the photos of `rows`, and others that are named by the same bytes ("...-1.jpg")."""
        places = {self.place(row) for row in rows if row["file"]}
        hashes = {row["sha256"][:16] for row in rows} - {""}
        return [
            file
            for file in self.photos.rglob("*")
            if file.is_file() and (file in places or file.stem.partition("-")[0] in hashes)
        ]


def is_dataset(folder):
    """Return whether `folder` is a dataset of this project: it has a manifest, and its photos are normalized.

    It is one whichever program has saved the manifest. If that cannot be read, `Manifest` says so.
    """
    path = Path(folder) / "manifest.csv"
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        text, _ = decode(file.readline(MAX_HEADER_BYTES))
    return is_manifest(text)


def read_rows(body, path):
    """Return the rows of a manifest's bytes, and whether the project itself would write them in that format.

    Spreadsheets write semicolons and UTF-16 as well. Windows-1252 is refused, because it cannot be told from other
    encodings, and lacks the letters of many labels. Raises `ManifestError`.
    """
    try:
        columns, rows, encoding, delimiter = parse(body, path)
    except SourceError as error:
        raise ManifestError(str(error)) from None
    if not set(columns) >= OURS:
        raise ManifestError(f"{path} is not a manifest of this project. Move it away and gather again.")
    if encoding == "cp1252":
        raise ManifestError(f'{path} was not saved as UTF-8. Save it again, as "CSV UTF-8". Nothing was changed.')
    return rows, (columns, encoding, delimiter, body[-1:]) == (COLUMNS, "utf-8", ",", b"\n")


def asked(row):
    """Return the label that the source gave to `row`, which cleaning may have changed."""
    return row["given"] or row["label"]


def _key(row):
    return asked(row), row["url"], row["origin"]


def photo_key(row):
    """Return what identifies the photo of `row`, whatever is decided about it; None if it has no photo."""
    has_photo = row["decision"] in WITH_PHOTO and row["sha256"]
    return (*_key(row), row["sha256"]) if has_photo else None


@contextmanager
def writing(photos):
    """Raise an OSError of the block as a `DiskError`."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise DiskError(
            f"{photos} cannot be written to: {error.strerror or error}. What was gathered and decided "
            "before is safe. Solve this, and try again: it will continue from here."
        ) from error


def now():
    """Return the current time in the manifest's format: UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def one_line(value):
    """Return `value` as text without line breaks, so that an incomplete row can be recognized."""
    return str(value).replace("\r", " ").replace("\n", " ")
