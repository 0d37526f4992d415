"""Synchronize a dataset with its source: exclude photos that the source no longer has; restore those it has again."""

import hashlib
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from .exclude import move_photo
from .links import SourceError
from .manifest import (
    BY_HAND,
    EXCLUDED,
    EXCLUDED_FOLDER,
    FORGOTTEN,
    FOUND,
    KEPT,
    OPEN,
    REFUSED,
    SAME_ADDRESS,
    SAME_IMAGE,
    SAME_PICTURE,
    UNWANTED,
    WITH_PHOTO,
    WITHDRAWN,
    asked,
    now,
    one_line,
)

NOT_ASKED = "Its label or query is no longer asked for."
NOT_THERE = "It is no longer in the source."


def synchronize_searches(manifest, wanted):
    """Exclude photos of searches that are not in `wanted` ({label: query}), and restore those that are.

    If the folder of a wanted label was deleted, its rows become open again. Nothing is deleted.
    """
    photos = manifest.photos
    excluded = photos / EXCLUDED_FOLDER
    folders = manifest.folders()
    before = [dict(row) for row in manifest.rows]
    missing = {label for label, folder in folders.items() if not any((p / folder).is_dir() for p in (photos, excluded))}
    withdrawn = set()  # labels of which photos were excluded
    restored = set()
    for row in manifest.rows:
        if not row["query"] or row["decision"] not in (KEPT, WITHDRAWN):
            continue  # from another source, or not a photo
        wants = wanted.get(asked(row)) == row["query"]
        if wants and row["label"] in missing:
            manifest.reopen(row)
        elif wants and row["decision"] == WITHDRAWN:
            move_photo(excluded / row["file"], photos / row["file"])
            row.update(changes_to_restore(row))
            restored.add(row["label"])
        elif not wants and row["decision"] == KEPT and (photos / row["file"]).exists():
            row.update(changes_to_withdraw(row, NOT_ASKED))
            withdrawn.add(row["label"])
    if before != manifest.rows:
        manifest.save()  # before the moves: after an interruption, the rows say which photos are excluded, and why
    emptied = {folders[label] for label in withdrawn - set(wanted)}
    _move_excluded(manifest, emptied, {folders[label] for label in restored})


def synchronize(manifest, origin, links, folders):
    """Update the rows of the source `origin` (its path) so that they match its `links`; new links become open rows.

    A photo that is no longer in the source is excluded, and restored when it returns. A photo whose label has changed
    in the source is moved. A file that has changed becomes open again. Decisions of cleaning stay. If an address occurs
    several times, its first link counts. Nothing is deleted.
    folders: {(split, label): folder}.
    """
    own, others, forgotten = _rows_by_source(manifest, origin, {one_line(link.url) for link in links})
    first, repeats = _first_links(links, others)
    before = [dict(row) for row in manifest.rows]
    folders_before = _folders_with_photos(manifest)
    rows = _update_repeats(manifest, origin, own, repeats)
    known = {}
    for row in own:
        if not row["reason"].startswith(SAME_ADDRESS):
            known.setdefault(row["url"], row)
    _withdraw(manifest, [row for url, row in known.items() if url not in first])
    bodies = {row["sha256"]: row for row in manifest.rows if row["sha256"] and row["decision"] in (KEPT, EXCLUDED)}
    for url, row in known.items():
        if link := first.get(url):
            _update(manifest, row, origin, link, folders[link.split, link.label], bodies)
    if before != manifest.rows:
        manifest.save()
    folders_now = _folders_with_photos(manifest)
    _move_excluded(manifest, folders_before - folders_now, folders_now - folders_before)
    for url, link in first.items():
        if url in forgotten:
            continue
        if link.page and one_line(link.page) in forgotten:
            rows.append(_row(link, origin) | dict(decision=FORGOTTEN, reason=UNWANTED, title=""))
        elif url not in known:
            rows.append(_row(link, origin) | dict(decision=FOUND))
    if rows:
        manifest.add(*rows)


def _first_links(links, others):
    """Return ({address: its first link}, [(link, reason)] of the repeated ones). `others`: see `_rows_by_source`.

    A link that another source has brought with the same label is in neither.
    """
    first = {}
    repeats = []
    for link in links:
        url = one_line(link.url)
        other = others.get(url)
        if url in first:
            same = first[url].label == link.label
            repeats.append((link, f"{SAME_ADDRESS}{'before' if same else f'for {first[url].label}'}."))
        elif other and asked(other) != link.label:
            repeats.append((link, f"{SAME_ADDRESS}for {asked(other)}."))
        elif not other:
            first[url] = link
    return first, repeats


def _update_repeats(manifest, origin, own, repeats):
    """Return the rows to add for repeated links, and drop the old ones; if they are the same, keep these instead."""
    old = [row for row in own if row["reason"].startswith(SAME_ADDRESS)]
    wanted = Counter((link.label, one_line(link.url), reason) for link, reason in repeats)
    if wanted == Counter((row["label"], row["url"], row["reason"]) for row in old):
        return []
    manifest.drop(old)
    return [_row(link, origin) | dict(decision=REFUSED, reason=reason) for link, reason in repeats]


def _withdraw(manifest, rows):
    """Mark photos and open rows as no longer in the source."""
    for row in rows:
        if row["decision"] in OPEN or (row["decision"] == KEPT and (manifest.photos / row["file"]).exists()):
            manifest.change(row, **changes_to_withdraw(row, NOT_THERE))


def changes_to_withdraw(row, reason):
    """Return the changes that withdraw a photo or an open row. A reason from a review stays, until it is restored."""
    return dict(decision=WITHDRAWN, reason=(row["decision"] == KEPT and row["reason"]) or reason)


def changes_to_restore(row):
    """Return the changes that restore a withdrawn photo, with its reason from a review."""
    return dict(decision=KEPT, reason="" if row["reason"] in (NOT_ASKED, NOT_THERE) else row["reason"])


def _row(link, origin):
    return {
        "label": link.label,
        "source": link.source,
        "title": link.title,
        "page": link.page,
        "url": link.url,
        "time": now(),
        "origin": origin,
    }


def _rows_by_source(manifest, origin, urls):
    """Return the rows of the source `origin`, {address: row} of the other sources, and the forgotten addresses.

    Only URLs of other sources count, because a relative path can be the same in several sources.
    """
    own = []
    others = {}
    forgotten = set()
    for row in manifest.rows:
        if row["decision"] == FORGOTTEN:
            forgotten.add(row["url"])
        elif not row["query"] and (row["origin"] == origin or (not row["origin"] and row["url"] in urls)):
            own.append(row)  # rows of an earlier version have no origin
        elif row["decision"] in (KEPT, EXCLUDED) and "://" in row["url"]:
            others.setdefault(row["url"], row)
    return own, others, forgotten


def _update(manifest, row, origin, link, folder, bodies):
    """Update `row` to match its `link`, whose photo belongs in `folder`.

    bodies: {sha256: row} of the existing photos; it is updated as well.
    """
    photos = manifest.photos
    excluded = photos / EXCLUDED_FOLDER
    if row["origin"] != origin:
        manifest.change(row, origin=origin)
    if asked(row) != link.label:
        _correct_label(manifest, row, link.label, folder)
    file = row["file"]
    same = bodies.get(row["sha256"]) if row["sha256"] else None
    if row["decision"] == WITHDRAWN:
        if file and not same:
            move_photo(excluded / file, photos / file)
        if same:
            manifest.change(row, decision=REFUSED, reason=same_image(same), file="")
        elif file and (photos / file).exists():
            manifest.change(row, **changes_to_restore(row))
            bodies[row["sha256"]] = row
        else:
            manifest.reopen(row)
    elif row["decision"] == REFUSED and row["reason"].startswith((SAME_IMAGE, SAME_PICTURE)) and not same:
        manifest.reopen(row)
    elif row["decision"] in (KEPT, REFUSED, EXCLUDED) and _has_changed(link, row):
        bodies.pop(row["sha256"], None)
        if row["decision"] == KEPT:
            move_photo(photos / file, excluded / file)
        manifest.reopen(row)
    elif row["decision"] == KEPT and not any((p / file).parent.is_dir() for p in (photos, excluded)):
        bodies.pop(row["sha256"], None)
        manifest.reopen(row)  # its folder was deleted


def _correct_label(manifest, row, label, folder):
    """Give `row` the `label` that its source has corrected, and move its photo, even an excluded one, to `folder`."""
    file = row["file"]
    if file and row["decision"] in WITH_PHOTO:
        top = manifest.place(row | {"file": ""})
        moved = move_photo(top / file, top / folder / Path(file).name)
        file = f"{folder}/{(moved or Path(file)).name}"  # another file can have the name
        if row["decision"] != EXCLUDED:
            row["reason"] = ""  # what a review decided was about the other label
    manifest.change(row, label=label, given="", given_file="", file=file)


def same_image(row):
    """Return the reason for refusing an image that has the same bytes as that of `row`."""
    return f"{SAME_IMAGE}{row['url']} ({row['label']})."


def _has_changed(link, row):
    """Return whether the file of `link` has changed since `row` was written. Reads the file only if it may have."""
    written = datetime.fromisoformat(row["time"] or "1970-01-01T00:00:00+00:00").timestamp()
    if link.size is None or (row["bytes"] == str(link.size) and int(link.changed) <= written):
        return False
    with suppress(SourceError, OSError):
        if hashlib.sha256(link.read()).hexdigest() != row["sha256"]:
            return True
        row["time"] = now()
    return False


def _move_added(manifest, folders, start, end):
    """Move the photos of `folders` that were added by hand from the folder `start` to `end`, one of them .excluded."""
    added = {
        row["file"]: row for row in manifest.rows if row["origin"] == BY_HAND and row["decision"] in (KEPT, WITHDRAWN)
    }
    others = {row["file"] for row in manifest.rows if row["origin"] != BY_HAND or row["decision"] == EXCLUDED}
    moved = []
    for path in [path for folder in folders for path in sorted((start / folder).glob("*")) if path.is_file()]:
        file = path.relative_to(start).as_posix()
        place = end / file if file in others else move_photo(path, end / file)
        if file in added:
            row = added[file] | dict(file=place.relative_to(end).as_posix())
            changes = changes_to_restore(row) if end == manifest.photos else changes_to_withdraw(row, NOT_THERE)
            moved.append({**row, **changes})
    manifest.add(*moved)


def _folders_with_photos(manifest):
    """Return the folders that contain photos of a source, according to the rows."""
    kept = [row["file"] for row in manifest.rows if row["decision"] == KEPT and row["origin"] != BY_HAND]
    return {file.rpartition("/")[0] for file in kept}


def _move_excluded(manifest, emptied, refilled):
    """Move the excluded photos of the rows, and photos that were added by hand together with the others of a folder.

    emptied: folders that no longer contain photos. refilled: folders that contain photos again.
    """
    photos = manifest.photos
    excluded = photos / EXCLUDED_FOLDER
    kept = {row["file"] for row in manifest.rows if row["decision"] == KEPT}
    for row in manifest.rows:
        if row["decision"] == WITHDRAWN and row["file"] and row["file"] not in kept and row["origin"] != BY_HAND:
            move_photo(photos / row["file"], excluded / row["file"])
    _move_added(manifest, emptied, photos, excluded)
    _move_added(manifest, refilled, excluded, photos)
    for folder in emptied:
        for path in (photos / folder, (photos / folder).parent):
            if path != photos and path.is_dir() and not any(path.iterdir()):
                path.rmdir()
