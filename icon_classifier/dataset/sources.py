"""Read sources without a search engine: a folder per label, a zip of folders, a list of addresses, img2dataset."""

import os
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

from .img2dataset import of_shards, of_tars
from .layout import find_images, in_words, labelled_of, readable
from .links import LABEL, MAX_FILE_BYTES, URL, Link, SourceError, read_file
from .manifest import END, EXCLUDED, FORGOTTEN, KEPT, OPEN, REFUSED, WITHDRAWN, MergedRows
from .manifest_format import is_manifest, parse
from .table import decode, delimiter_of, fields_of

LISTS = {".csv", ".tsv", ".txt"}
MAX_URL_LENGTH = 8_000  # characters; servers accept no longer addresses
UNUSED = {FORGOTTEN: "asked to be forgotten", EXCLUDED: "excluded in cleaning", WITHDRAWN: "no longer asked for"}


def read_source(source, left_out=None):
    """Return an iterator over a `Link` with a label per image of `source`. Raises `SourceError`.

    source: the path of one of these:

    - a folder with one folder per label, or a zip of folders (see `layout.labelled_of`)
    - a CSV, TSV or TXT of addresses, with a column of labels; without one, the file name is the label
    - a folder of such lists
    - a folder that img2dataset wrote (as files or as webdataset)

    left_out: a `Counter` to which the reasons why files are left out are added.
    """
    left_out = Counter() if left_out is None else left_out
    source = Path(source)
    if source.is_file():
        if source.suffix.lower() in LISTS:
            return _of_list(source, left_out)
        if zipfile.is_zipfile(source):
            return _of_zip(source, left_out)
        raise SourceError(f"{source} is neither a zip nor a CSV, TSV or TXT. Convert it to one of these.")
    if not source.is_dir():
        raise SourceError(f"There is no file or folder {source}. Check the path.")
    if any(source.glob("[0-9]*.tar")):
        return of_tars(source, left_out)
    if any(source.glob("[0-9]*/[0-9]*.json")):
        return of_shards(source, left_out)
    lists = sorted(file for file in source.iterdir() if file.suffix.lower() in LISTS)
    if lists and not any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir()):
        return (link for file in lists for link in _of_list(file, left_out))
    return _of_folder(source, left_out)


def _some(labelled, source, left_out):
    if not labelled:
        what = "Put one folder per label into it, with the photos of that label"
        raise SourceError(f"{source} contains no photos of labels. {what}. {in_words(left_out)}".strip())
    return sorted(labelled, key=lambda found: found[1])  # train before valid: an image in both is kept in train


def _of_folder(source, left_out):
    name = Path(os.path.abspath(source)).name
    for file, split, label in _some(find_images(source, left_out), source, left_out):
        path = source / file
        size = None
        changed = 0.0
        try:
            size = path.stat().st_size
            changed = path.stat().st_mtime
        except OSError:  # a broken link; reading it later gives the reason
            pass
        yield Link(readable(f"{name}/{file}"), readable(label), source="folder", read=partial(read_file, path),
                   split=split, size=size, changed=changed)  # fmt: skip


def _of_zip(source, left_out):
    try:
        archive = zipfile.ZipFile(source)  # stays open while one of the links exists
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise SourceError(f"{source} cannot be unpacked: {error}. Make or copy the zip again.") from None
    members = {_name_in_zip(info): info for info in archive.infolist()}
    if hidden := len(archive.infolist()) - len(members):
        left_out["with a path that occurs again in the zip"] += hidden
    files = sorted(name for name in members if not name.endswith("/"))
    for file, split, label in _some(labelled_of(files, left_out), source, left_out):
        info = members[file]
        yield Link(f"{source.name}/{file}", label, source="zip", read=partial(_read_member, archive, info),
                   split=split, size=info.file_size)  # fmt: skip


def _name_in_zip(info):
    """Return a member's path with slashes.

    Old Windows programs write backslashes, and many programs write UTF-8 without the flag that declares it.
    """
    name = info.filename
    if not info.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")  # zipfile decoded it as cp437, as the format specifies
        except UnicodeError:
            pass
    return name.replace("\\", "/")


def _read_member(archive, info):
    try:
        with archive.open(info) as member:
            body = member.read(MAX_FILE_BYTES + 1)  # the size that a zip declares can be wrong
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise SourceError(f"The file cannot be unpacked: {error}.") from None
    if len(body) > MAX_FILE_BYTES:
        raise SourceError(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
    return body


def _of_list(source, left_out):
    for row in _rows(source, left_out):
        row = {column: field.strip() for column, field in row.items()}
        decision = row["decision"]
        if decision == END:
            continue
        if decision in UNUSED:
            left_out[UNUSED[decision]] += 1
        elif not row["url"]:
            left_out["without an address"] += 1
        elif not row["label"]:
            left_out["without a label"] += 1
        elif len(row["url"]) > MAX_URL_LENGTH:
            left_out[f"with an address of more than {MAX_URL_LENGTH:,} characters"] += 1
        else:
            title, page = (row[column][:MAX_URL_LENGTH] for column in ("title", "page"))
            yield Link(row["url"], row["label"], title, page, "list")


def _rows(source, left_out):
    """Return the lines of a list as dicts with the keys url, label, title, page and decision."""
    body = source.read_bytes()
    text, _ = decode(body)
    if is_manifest(text):
        return _rows_of_manifest(parse(body, source)[1], left_out)
    rows = fields_of(text, delimiter_of(text), source)
    head = [field.strip().lower() for field in rows[0]] if rows else []
    addresses = [i for i, field in enumerate(head) if _is_address(field)]
    if addresses:  # the first line does not name the columns
        columns = {"url": addresses[0]}
        if len(head) == 2:
            columns["label"] = 1 - addresses[0]
    else:
        columns = {field: i for i, field in reversed(list(enumerate(head)))}  # of equal names, the first counts
        rows = rows[1:]
    url = next((columns[name] for name in URL if name in columns), None)
    label = next((columns[name] for name in LABEL if name in columns), None)
    if url is None or not rows:
        raise SourceError(f"{source} contains no addresses. Its first line should name the columns: url,label.")
    places = {"url": url, "label": label} | {name: columns.get(name) for name in ("title", "page", "decision")}
    rows = [dict(enumerate(row)) for row in rows]
    without = {"label": source.stem} if label is None else {}
    return [{name: row.get(place, "") for name, place in places.items()} | without for row in rows]


def _rows_of_manifest(lines, left_out):
    """Yield the rows of a manifest that is passed on: of a photo's lines, the last counts.

    Other rows of a photo are left out, so that it does not come back after a review, with its old label or at all.
    """
    rows = MergedRows(lines).rows
    photos = {row[key] for row in rows if row["decision"] in (KEPT, EXCLUDED) for key in ("url", "sha256")} - {""}
    for row in rows:
        if row["decision"] in (REFUSED, *OPEN) and photos & {row["url"], row["sha256"]}:
            left_out["that repeat another image of the manifest"] += 1
        else:
            yield row


def _is_address(field):
    return field.strip().lower().startswith(("http://", "https://"))
