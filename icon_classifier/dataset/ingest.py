"""Ingest links: write each image as a photo and record it in the manifest, or record why it was refused."""

import hashlib
import io

from ..files import write_atomic
from ..images import ImageError, open_image
from .exclude import move_photo
from .links import FetchError, SourceError
from .manifest import (
    END,
    EXCLUDED,
    EXCLUDED_FOLDER,
    FORGOTTEN,
    FOUND,
    KEPT,
    LATER,
    OPEN,
    REFUSED,
    SAME_ADDRESS,
    UNWANTED,
    WITHDRAWN,
    asked,
    now,
    one_line,
    writing,
)
from .sync import changes_to_restore, same_image

MAX_SIDE = 512  # px; training on larger photos is slower and not better


def list_links(manifest, label, query, links, more=False):
    """Add a row per link of `links`, which the search `query` (a `Query`) found for `label`.

    A link that has a row already is not fetched again; an excluded photo that is found again is restored.
    more: whether the search may find more links. If not, and there are fewer links than `query.number`, a row records
    this, so that the search is not repeated.
    """
    known = {row["url"]: row for row in manifest.rows if asked(row) == label}
    others = [row for row in manifest.rows if asked(row) != label]
    elsewhere = {row["url"]: row for row in others if row["decision"] in (*OPEN, KEPT)}
    forgotten = {row["url"] for row in manifest.rows if row["decision"] == FORGOTTEN}
    search = dict(label=label, query=str(query), licence=query.licence, time=now())
    new = []
    repeated = []
    listed = set()
    changed = False
    for link in links:
        url = one_line(link.url)
        page = one_line(link.page)
        row = {**search, "source": link.source, "title": link.title, "page": page, "url": url, "decision": FOUND}
        if url in known:
            changed |= _find_again(manifest, known[url], query)
        elif url in listed:
            repeated.append(row | dict(decision=REFUSED, reason=f"{SAME_ADDRESS}before."))
        elif url in forgotten or (page and page in forgotten):
            new.append(row | dict(decision=FORGOTTEN, reason=UNWANTED, title=""))
        elif url in elsewhere:
            new.append(row | dict(decision=REFUSED, reason=f"{SAME_ADDRESS}for {asked(elsewhere[url])}."))
        else:
            new.append(row)
        listed.add(url)
    if changed:
        manifest.save()
    if 0 < len(links) < query.number and not more:
        new.append(search | dict(decision=END, reason="There were no more."))
    if new:
        manifest.add(*repeated, *new)  # repeated links first, because a row replaces an open row of the same link


def _find_again(manifest, row, query):
    """Update the `row` of a link that `query` found again, and restore its photo; return whether the row changed."""
    changed = row["query"] != str(query)
    if row["decision"] == WITHDRAWN:
        changed = True
        if row["file"]:
            move_photo(manifest.photos / EXCLUDED_FOLDER / row["file"], manifest.photos / row["file"])
            row.update(changes_to_restore(row))
        else:
            manifest.reopen(row)
    row.update(query=str(query), licence=query.licence)
    return changed


def ingest(manifest, folder, rows, arrivals):
    """Ingest the images of `rows` (open ones) as they arrive, and yield each row with its decision.

    arrivals: (url, arrival) in any order. The arrival is a `Response` or `FetchError` from `Fetcher.fetch_images`, or
    a function that returns the bytes.
    """
    rows = {row["url"]: row for row in rows}
    there = (KEPT, EXCLUDED, FORGOTTEN)
    bodies = {row["sha256"]: row for row in manifest.rows if row["sha256"] and row["decision"] in there}
    for url, came in arrivals:
        row = {**rows[url], "time": now(), **_decide(manifest.photos, folder, bodies, came)}
        row = manifest.add(row)[0]
        if row["decision"] == KEPT:
            bodies[row["sha256"]] = row
        yield row


def _decide(photos, folder, bodies, came):
    """Return the columns that say what became of a link, and write the photo if the image is usable and new.

    came: see `arrivals` of `ingest`.
    """
    if isinstance(came, FetchError):
        return dict(decision=LATER if came.again else REFUSED, reason=str(came), status=came.status)
    facts = {}
    try:
        if callable(came):
            body = came()
        else:
            body = came.body
            facts = dict(status=came.status, type=came.type)
        facts |= dict(bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
        same = bodies.get(facts["sha256"])
        if same and same["decision"] == FORGOTTEN:
            return dict(decision=FORGOTTEN, reason=UNWANTED, title="")
        if same:
            return facts | dict(decision=REFUSED, reason=same_image(same))
        image = open_image(body, max_side=MAX_SIDE)
    except (ImageError, SourceError) as error:
        return facts | dict(decision=REFUSED, reason=str(error))
    except OSError as error:
        return facts | dict(decision=LATER, reason=f"The file cannot be read: {error.strerror or error}.")
    file = f"{folder}/{facts['sha256'][:16]}.jpg"
    with writing(photos):
        write_photo(photos / file, image)
    return facts | dict(decision=KEPT, reason="", file=file, width=image.width, height=image.height)


def write_photo(path, image):
    """Write `image` to `path` as JPEG, atomically."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data.getvalue())
