"""Exclude photos, put them back, and give them other labels. The manifest notes each decision; nothing is deleted."""

import hashlib
import itertools
import os
import re
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

from .layout import find_images, readable
from .manifest import BY_HAND, COLUMNS, EXCLUDED, EXCLUDED_FOLDER, KEPT, WITHDRAWN, Manifest, is_dataset, now, writing

BY_CLEANING = "It was excluded in cleaning."


def move_photo(start, end):
    """Move the file `start` to `end` and return its new path; return None if `start` does not exist.

    If there is another file at `end`, the photo gets a free file name beside it ("...-1.jpg"). A file with the same
    bytes is replaced. Raises `DiskError`.
    """
    if not start.exists():
        return None
    target = end
    number = 1
    while target.exists() and target.read_bytes() != start.read_bytes():
        target = end.with_name(f"{end.stem}-{number}{end.suffix}")
        number += 1
    return _move(start, target)


def _move(start, end):
    """Move the file `start` to `end`, in a new folder if need be, and return its new path. Raises `DiskError`."""
    with writing(f"{start.parent} or {end.parent}"):  # the error does not say which of them refused
        end.parent.mkdir(parents=True, exist_ok=True)
        return start.replace(end)


def label_depth(listed):
    """Return how many folders contain the folders of the labels. `listed`: from `find_images`."""
    return next(
        depth for depth in itertools.count() if all(file.split("/")[depth] == label for file, _, label in listed)
    )


def label_folder(file, depth):
    """Return the parts of `file` (a path with slashes): those above the folder of its label, and that folder."""
    *folders, _ = file.split("/")  # pathlib takes a second for 100,000 paths
    depth = min(depth, len(folders) - 1)
    return folders[:depth], folders[depth]


def apply_changes(manifest, changes):
    """Move photos as decided, and append their rows to the manifest; return the rows, None for a photo that is gone.

    changes: pairs of a row (see `Rows`) and a dict with the columns that change. All rows are written at once. If they
    cannot be written, the photos move back and the error is raised. If the process is killed in between, photos have
    moved and their rows do not say so; `Rows.reconcile` corrects that.

    A path stays that of one photo: no other photo gets it, even when it is free again. So findings, thumbnails and
    undo cannot confuse photos.
    """
    moves = []
    decided = []
    with manifest.locked():
        taken = {file for row in manifest.rows for file in (row["file"], row["given_file"])}
        try:
            for row, change in changes:
                start = manifest.place(row)
                new = _find_place(manifest, row, {**row, **change}, taken) if start.exists() else None
                decided.append(new)
                if new and manifest.place(new) != start:
                    moves.append((start, _move(start, manifest.place(new))))
                    taken |= {readable(row["file"]), new["file"]}
            rows = iter(manifest.add(*filter(None, decided)))
        except BaseException:
            for start, end in reversed(moves):
                end.replace(start)
            raise
    return [new and next(rows) for new in decided]


def _find_place(manifest, row, new, taken):
    """Return `new`, the row that is to follow `row`, with a file name that no other photo has or had ("...-1.jpg").

    The name can be written to the manifest, as the checks write it, even if that of a photo added by hand cannot.
    """
    first = _first_file(row)
    returns = first and new["file"] == row["file"] and not new["given"]
    stem, suffix = os.path.splitext(first if returns else readable(new["file"]))
    for number in itertools.count():
        file = f"{stem}-{number}{suffix}" if number else stem + suffix
        found = {**new, "file": file, "given_file": "" if file == first else first}
        place = manifest.place(found)
        own = file in (row["file"], first) or file not in taken
        if place == manifest.place(row) or (own and not place.exists()):
            return found


def _first_file(row):
    """Return the path that the photo of `row` had at first; "" if the row, of an earlier version, does not say that."""
    return row["given_file"] or ("" if row["given"] else readable(row["file"]))


class Rows:
    """The rows of the photos of a dataset, by their files below it (with slashes).

    This is a snapshot of the manifest; make another one after the manifest has changed.
    kept, excluded: {file: row}. depth: see `label_depth`.
    """

    def __init__(self, manifest, depth=None):
        self.manifest = manifest
        self.depth = label_depth(find_images(manifest.photos)) if depth is None else depth
        self.kept = {row["file"]: row for row in manifest.rows if row["decision"] == KEPT}
        self.excluded = {row["file"]: row for row in manifest.rows if row["decision"] == EXCLUDED}
        self.labels = {folder: label for label, folder in manifest.folders().items()}  # as they were typed

    def of(self, file):
        """Return the row of the photo `file`; a new one, not in the manifest yet, if it was added by hand."""
        return self.kept.get(file) or self.new(file, self.manifest.photos / file)

    def of_excluded(self, file):
        """Return the row of the photo `file` in .excluded; a new one if the manifest has none."""
        path = self.manifest.photos / EXCLUDED_FOLDER / file
        return self.excluded.get(file) or {**self.new(file, path), "decision": EXCLUDED}

    def new(self, file, path):
        """Return a row for the photo at `path`, which was added by hand as `file`."""
        row = dict.fromkeys(COLUMNS, "") | dict(label=self.label(file), file=file, url=readable(file))
        return row | dict(sha256=_sha256(path), origin=BY_HAND, decision=KEPT, time=now())

    def label(self, file):
        """Return the label of the folder in which `file` is, as it was typed."""
        _, folder = label_folder(file, self.depth)
        return self.labels.get(folder) or readable(folder)

    def moved(self, row, folder):
        """Return the changes that move the photo of `row` to the label whose folder is `folder`, such as "star".

        A training photo stays a training photo. With the label that its source gave, it returns to its first place.
        """
        label = self.labels.get(folder) or readable(folder)
        given = row["given"] or row["label"]
        first = row["given_file"] or row["file"]
        above, _ = label_folder(first, self.depth)
        moved = "/".join([*above, folder, first.rpartition("/")[2]])
        if label == given:
            return dict(label=label, file=row["given_file"] or moved, given="", decision=KEPT)
        return dict(label=label, file=moved, given=given, decision=KEPT)

    def reconcile(self, files):
        """Correct the rows of photos that were moved without the manifest; return their number.

        A decision moves the photo before it writes the row, and a person can move files too. So the rows are corrected
        to match the files.
        files: those of the dataset, below it.
        """
        photos = self.manifest.photos
        top = photos / EXCLUDED_FOLDER
        found = set(files)
        lost = [row for file, row in self.kept.items() if file not in found and not (photos / file).exists()]
        lost += [row for file, row in self.excluded.items() if not (top / file).exists()]
        if not lost:
            return 0
        excluded = {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}
        withdrawn = {row["file"] for row in self.manifest.rows if row["decision"] == WITHDRAWN}
        away = self._strays(excluded - self.excluded.keys() - withdrawn)
        here = self._strays(found - self.kept.keys())
        corrected = {}
        for row in lost:
            new = self._found_again(row, here, away)
            if new:
                corrected.setdefault(self.manifest.place(new), new)  # a file is one photo
        self.manifest.add(*corrected.values())
        return len(corrected)

    def _strays(self, files):
        """Return {path or file name: `files` without a row}. A name that was taken may have got a number ("...-1")."""
        taken = {file for row in self.manifest.rows for file in (row["file"], row["given_file"])}
        strays = defaultdict(list)
        for file in sorted(files):
            strays[file].append(file)
            strays[file.rpartition("/")[2]].append(file)
        for file in sorted(files):
            before = re.sub(r"-\d+(?=\.[^./]*$)", "", file)
            if before != file and (before in taken or (self.manifest.photos / before).exists()):
                strays[before].append(file)
                strays[before.rpartition("/")[2]].append(file)
        return strays

    def _found_again(self, row, here, away):
        """Return the corrected row of a photo that is not where its `row` says; None if it is gone.

        here, away: the `_strays` of the dataset and of its folder .excluded.
        """
        first = _first_file(row)
        names = (row["file"], row["file"].rpartition("/")[2], first.rpartition("/")[2])
        found = [{**row, "file": file, "decision": EXCLUDED, "reason": BY_CLEANING} for file in away[row["file"]]]
        for file in (file for name in names for file in here[name]):
            new = row | self.moved(row, label_folder(file, self.depth)[1]) | dict(file=file)
            same = row["decision"] == KEPT and new["label"] == row["label"]
            found.append(new if same else new | dict(reason=""))
        for new in found:
            if row["origin"] != BY_HAND or _sha256(self.manifest.place(new)) == row["sha256"]:
                return new | dict(given_file="" if new["file"] == first else first)
        return None  # the name of a gathered photo says what is in it; that of another does not


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _rows(photos):
    """Yield the `Rows` of the dataset `photos`; no other process decides meanwhile."""
    manifest = Manifest(photos)
    with manifest.locked():
        manifest.refresh()
        yield Rows(manifest)


def exclude(photos, files):
    """Move `files` (paths below the dataset `photos`) to its folder .excluded; return where they are now.

    fastai's `get_image_files` does not find them there. Files that do not exist are left out.
    """
    photos = Path(photos)
    files = [Path(file).relative_to(photos) for file in files if Path(file).exists()]
    if not files:
        return []
    if not is_dataset(photos):
        return [move_photo(photos / file, photos / EXCLUDED_FOLDER / file) for file in files]
    change = dict(decision=EXCLUDED, reason=BY_CLEANING)
    with _rows(photos) as rows:
        decided = apply_changes(rows.manifest, [(rows.of(file.as_posix()), change) for file in files])
    return [rows.manifest.place(row) for row in decided if row]


def restore(photos, files):
    """Move `files` (paths below photos/.excluded) back to where they were; return where they are now."""
    photos = Path(photos)
    files = [Path(file).relative_to(photos / EXCLUDED_FOLDER) for file in files if Path(file).exists()]
    if not is_dataset(photos):
        return [move_photo(photos / EXCLUDED_FOLDER / file, photos / file) for file in files]
    change = dict(decision=KEPT, reason="")
    with _rows(photos) as rows:
        decided = apply_changes(rows.manifest, [(rows.of_excluded(file.as_posix()), change) for file in files])
    return [rows.manifest.place(row) for row in decided if row]


def relabel(file, label):
    """Move a photo to the folder `label` beside its own; return its new path, or None if it no longer exists.

    A photo in train or valid stays there.
    """
    file = Path(file)
    if not file.exists():
        return None
    photos = next((folder for folder in file.parents[1:3] if is_dataset(folder)), None)
    if not photos:
        return move_photo(file, file.parent.parent / label / file.name)
    with _rows(photos) as rows:
        row = rows.of(file.relative_to(photos).as_posix())
        (moved,) = apply_changes(rows.manifest, [(row, rows.moved(row, label) | dict(reason=""))])
    return moved and rows.manifest.place(moved)
