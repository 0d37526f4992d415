"""Names come and go: what is no longer asked for is put aside, and comes back when it is asked for again."""

import os

from .manifest import ASIDE, KEPT

NOT_ASKED = "Its name or query is no longer asked for."


def arrange(manifest, wanted):
    """Put aside photos that a search found and that `wanted` ({name: query}) does not ask for; put back the others.

    Rows of a name whose folder was deleted become open again. Nothing is deleted.
    """
    photos, aside, folders = manifest.photos, manifest.photos / ".aside", manifest.folders()
    before = [dict(row) for row in manifest.rows]
    missing = {name for name, folder in folders.items() if not any((p / folder).is_dir() for p in (photos, aside))}
    gone, back = set(), set()
    for row in manifest.rows:
        if not row["query"] or row["decision"] not in (KEPT, ASIDE):
            continue  # another road's, or no photo
        asked = wanted.get(row["name"]) == row["query"]
        if asked and row["name"] in missing:
            manifest.reopen(row)
        elif asked and row["decision"] == ASIDE:
            move(aside / row["file"], photos / row["file"])
            row.update(decision=KEPT, reason="")
            back.add(row["name"])
        elif not asked and row["decision"] == KEPT and (photos / row["file"]).exists():
            row.update(decision=ASIDE, reason=NOT_ASKED)
            gone.add(row["name"])
    if before != manifest.rows:
        manifest.save()  # before the moves: what the cleaning put aside must stay there when the name comes back
    for row in manifest.rows:
        if row["decision"] == ASIDE:
            move(photos / row["file"], aside / row["file"])
    # Pictures that somebody added to the folder by hand go where its name goes.
    listed = {row["file"] for row in manifest.rows}
    for names, start, end in ((gone - set(wanted), photos, aside), (back, aside, photos)):
        for file in [file for name in names for file in sorted((start / folders[name]).glob("*"))]:
            path = file.relative_to(start)
            if path.as_posix() not in listed:
                move(file, end / path)
    for name in gone - set(wanted):
        if (photos / folders[name]).is_dir() and not any((photos / folders[name]).iterdir()):
            (photos / folders[name]).rmdir()


def move(start, end):
    """Move the file `start` to `end`, where it is there to be moved."""
    if start.exists():
        end.parent.mkdir(parents=True, exist_ok=True)
        os.replace(start, end)
