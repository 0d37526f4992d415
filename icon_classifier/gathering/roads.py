"""The roads without a search engine: a folder a name, a zip of such, a CSV of addresses, what img2dataset wrote."""

import csv
import io
import json
import tarfile
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

from .links import Link, SourceError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
LISTS = {".csv", ".tsv", ".txt"}
URL = ("url", "image_url", "image", "link", "address", "src")  # what the columns of a CSV may be called
LABEL = ("label", "name", "class", "category")
LARGEST = 100_000_000  # bytes; a file in a zip may unpack to any size


def read_source(source):
    """Yield a `Link` for each picture of `source`, with its label; those at hand can be read, the others are fetched.

    `source`: the path of a folder with one folder a name; of a zip of such; of a CSV, TSV or TXT of addresses, with a
    column of labels or else with the file's name as the label; of a folder of such lists; or of a folder that
    img2dataset wrote (as files or as webdataset). Raises `SourceError`.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix.lower() in LISTS:
            return _of_list(source)
        if zipfile.is_zipfile(source):
            return _of_zip(source)
        raise SourceError(f"{source} is neither a zip nor a CSV, TSV or TXT.")
    if not source.is_dir():
        raise SourceError(f"There is no file or folder {source}.")
    if any(source.glob("[0-9]*.tar")):
        return _of_tars(source)
    if any(source.glob("[0-9]*/[0-9]*.json")):
        return _of_shards(source)
    lists = sorted(file for file in source.iterdir() if file.suffix.lower() in LISTS)
    if lists and not any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir()):
        return (link for file in lists for link in _of_list(file))
    return _of_folder(source)


def _of_folder(source):
    files = [file.relative_to(source).as_posix() for file in sorted(source.rglob("*")) if file.is_file()]
    for file, name in _labelled(files, source):
        yield Link(f"{source.name}/{file}", name, source="folder", read=partial(_read_file, source / file))


def _read_file(file):
    if file.stat().st_size > LARGEST:
        raise SourceError(f"It is larger than {LARGEST // 1_000_000} MB.")
    return file.read_bytes()


def _of_zip(source):
    archive = zipfile.ZipFile(source)  # open as long as one of the links is
    files = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    for file, name in _labelled(files, source):
        yield Link(f"{source.name}/{file}", name, source="zip", read=partial(_read_member, archive, file))


def _read_member(archive, file):
    try:
        with archive.open(file) as member:
            body = member.read(LARGEST + 1)  # the size that a zip states may be a lie
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise SourceError(f"It cannot be unpacked: {error}.") from None
    if len(body) > LARGEST:
        raise SourceError(f"It is larger than {LARGEST // 1_000_000} MB.")
    return body


def _labelled(files, source):
    """Yield (file, its folder's name) for the pictures among `files`, paths with slashes."""
    found = []
    for file in files:
        parts = PurePosixPath(file).parts
        hidden = any(part.startswith((".", "__")) for part in parts)  # __MACOSX, .aside, .DS_Store
        if len(parts) > 1 and not hidden and PurePosixPath(file).suffix.lower() in SUFFIXES:
            found.append((file, parts[-2], parts[-3] if len(parts) > 2 else ""))
    if not found:
        raise SourceError(f"{source} holds no pictures; put one folder a name into it, and the pictures into those.")
    if {"train", "valid"} <= {above for _, _, above in found}:
        raise SourceError(f'{source} has a split of its own, train and valid; use it as it is: source = "folder".')
    return ((file, name) for file, name, _ in found)


def _of_list(source):
    text = source.read_bytes().decode("utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    mark = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=mark) if any(field.strip() for field in row)]
    head = [field.strip().lower() for field in rows[0]] if rows else []
    if any(_is_address(field) for field in head):  # no line with the columns' names
        where = next(i for i, field in enumerate(head) if _is_address(field))
        columns = {"url": where} | ({"label": 1 - where} if len(head) == 2 else {})
    else:
        columns, rows = {field: i for i, field in reversed(list(enumerate(head)))}, rows[1:]
    url = next((columns[name] for name in URL if name in columns), None)
    label = next((columns[name] for name in LABEL if name in columns), None)
    if url is None or not rows:
        raise SourceError(f"{source} holds no addresses; its first line should name the columns: url,label.")
    for row in rows:
        row = dict(enumerate(field.strip() for field in row))
        if row.get(columns.get("decision")) == "forgotten":  # a manifest is such a list, and may be passed on
            continue
        name = row.get(label, "") if label is not None else source.stem
        title, page = (row.get(columns.get(column), "") for column in ("title", "page"))
        if name and row.get(url):
            yield Link(row[url], name, title, page, "list")


def _is_address(field):
    return field.strip().lower().startswith(("http://", "https://"))


def _of_shards(source):
    """img2dataset's output_format "files": SHARD/KEY.jpg, and what is known about it in SHARD/KEY.json."""
    for file in sorted(source.glob("[0-9]*/[0-9]*.json")):
        picture = file.with_suffix(".jpg")
        if picture.exists():
            yield _of_img2dataset(json.loads(file.read_bytes()), file, partial(_read_file, picture))


def _of_tars(source):
    """img2dataset's output_format "webdataset": SHARD.tar with the same files."""
    for shard in sorted(source.glob("[0-9]*.tar")):
        known = {}
        with tarfile.open(shard) as archive:
            for member in archive:
                key, _, kind = member.name.partition(".")
                if kind == "json":
                    known.setdefault(key, {})["about"] = json.loads(archive.extractfile(member).read())
                elif kind == "jpg":
                    known.setdefault(key, {})["read"] = partial(_read_piece, shard, member.offset_data, member.size)
        for key, found in known.items():
            if len(found) == 2:
                yield _of_img2dataset(found["about"], f"{shard} ({key})", found["read"])


def _read_piece(file, offset, size):
    with open(file, "rb") as whole:
        whole.seek(offset)
        return whole.read(min(size, LARGEST))


def _of_img2dataset(about, where, read):
    label = next((about[column] for column in (*LABEL, "caption") if about.get(column)), None)
    if label is None:
        raise SourceError(f"{where} does not say what it shows; run img2dataset with --caption_col label.")
    return Link(about["url"], str(label), source="img2dataset", read=read)
