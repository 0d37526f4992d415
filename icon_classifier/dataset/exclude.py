"""Exclude photos, put them back, and give them other labels. The manifest notes each decision; nothing is deleted."""

import hashlib
from pathlib import Path

from .manifest import BY_HAND, COLUMNS, EXCLUDED, KEPT, WITHDRAWN, Manifest, is_dataset, now

EXCLUDED_FOLDER = ".excluded"  # in the dataset; find_photos and fastai's get_image_files skip hidden folders
BY_CLEANING = "It was excluded in cleaning."


def move_photo(start, end):
    """Move the file `start` to `end` and return its new path; return None if `start` does not exist.

    If there is another file at `end`, the photo gets a free file name beside it ("...-1.jpg"). A file with the same
    bytes is replaced.
    """
    if not start.exists():
        return None
    end.parent.mkdir(parents=True, exist_ok=True)
    target = end
    number = 1
    while target.exists() and target.read_bytes() != start.read_bytes():
        target = end.with_name(f"{end.stem}-{number}{end.suffix}")
        number += 1
    return start.replace(target)


def folder_of(file):
    """Return the name of the folder in which `file` (a path with slashes) is."""
    return file.rpartition("/")[0].rpartition("/")[2]  # pathlib takes a second for 100,000 paths


def place_of(photos, row):
    """Return where the photo of `row` should be in the dataset `photos`."""
    return photos / EXCLUDED_FOLDER / row["file"] if row["decision"] in (EXCLUDED, WITHDRAWN) else photos / row["file"]


def apply_changes(manifest, changes):
    """Move photos as decided, and append their rows to the manifest; return the rows, None for a photo that is gone.

    changes: pairs of a row (see `Rows`) and a dict with the columns that change. All rows are written at once. If they
    cannot be written, the photos move back and the error is raised. If the process is killed in between, photos have
    moved and their rows do not say so; `Rows.settle` corrects that.
    """
    moves, decided = [], []
    with manifest.locked():
        try:
            for row, change in changes:
                new = {**row, **change}
                start = place_of(manifest.photos, row)
                end = move_photo(start, place_of(manifest.photos, new))
                if end:
                    moves.append((start, end))
                    new["file"] = Path(new["file"]).with_name(end.name).as_posix()
                decided.append(new if end else None)
            rows = iter(manifest.add(*filter(None, decided)))
        except BaseException:
            for start, end in reversed(moves):
                end.replace(start)
            raise
    return [new and next(rows) for new in decided]


class Rows:
    """The rows of the photos of a dataset, by their files below it (with slashes). A snapshot: make it anew if needed.

    kept, excluded: {file: row}.
    """

    def __init__(self, manifest):
        self.manifest = manifest
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
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        row = dict.fromkeys(COLUMNS, "")
        return row | dict(
            label=self.label(file), file=file, url=file, origin=BY_HAND, sha256=sha256, decision=KEPT, time=now()
        )

    def label(self, file):
        """Return the label of the folder in which `file` is, as it was typed."""
        folder = folder_of(file)
        return self.labels.get(folder, folder)

    def moved(self, row, folder):
        """Return the changes that move the photo of `row` to the label whose folder is `folder`, such as "star".

        A training photo stays a training photo.
        """
        file = Path(row["file"])
        label = self.labels.get(folder, folder)
        given = row["given"] or row["label"]
        moved = (file.parent.parent / folder / file.name).as_posix()
        return dict(label=label, file=moved, given="" if label == given else given, decision=KEPT)

    def settle(self, files):
        """Correct the rows of photos that were moved without the manifest; return their number.

        A decision moves the photo before it notes that, and a person can move files too. So where a photo is, counts.
        files: those of the dataset, below it.
        """
        photos = self.manifest.photos
        found = set(files)
        strays = {Path(file).name: file for file in files if file not in self.kept}
        corrected = []
        for file, row in self.kept.items():
            if file in found or (photos / file).exists():
                continue
            if (photos / EXCLUDED_FOLDER / file).exists():
                corrected.append({**row, "decision": EXCLUDED, "reason": BY_CLEANING})
            elif other := strays.get(Path(file).name):
                corrected.append({**row, **self.moved(row, Path(other).parent.name), "file": other})
        for file, row in self.excluded.items():
            if not (photos / EXCLUDED_FOLDER / file).exists() and (photos / file).exists():
                corrected.append({**row, "decision": KEPT, "reason": ""})
        if corrected:
            self.manifest.add(*corrected)
        return len(corrected)


def exclude(photos, files):
    """Move `files` (paths below the dataset `photos`) to its folder .excluded; return where they are now.

    fastai's `get_image_files` does not find them there. Files that do not exist are left out.
    """
    photos = Path(photos)
    files = [Path(file).relative_to(photos) for file in files if Path(file).exists()]
    if not is_dataset(photos):
        return [move_photo(photos / file, photos / EXCLUDED_FOLDER / file) for file in files]
    rows = Rows(Manifest(photos))
    change = dict(decision=EXCLUDED, reason=BY_CLEANING)
    decided = apply_changes(rows.manifest, [(rows.of(file.as_posix()), change) for file in files])
    return [place_of(photos, row) for row in decided if row]


def restore(photos, files):
    """Move `files` (paths below photos/.excluded) back to where they were; return where they are now."""
    photos = Path(photos)
    files = [Path(file).relative_to(photos / EXCLUDED_FOLDER) for file in files if Path(file).exists()]
    if not is_dataset(photos):
        return [move_photo(photos / EXCLUDED_FOLDER / file, photos / file) for file in files]
    rows = Rows(Manifest(photos))
    change = dict(decision=KEPT, reason="")
    decided = apply_changes(rows.manifest, [(rows.of_excluded(file.as_posix()), change) for file in files])
    return [place_of(photos, row) for row in decided if row]


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
    rows = Rows(Manifest(photos))
    row = rows.of(file.relative_to(photos).as_posix())
    (moved,) = apply_changes(rows.manifest, [(row, rows.moved(row, label))])
    return moved and place_of(photos, moved)
