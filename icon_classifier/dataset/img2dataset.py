"""Read the output of img2dataset: images, each with a JSON file of its address and its caption (the label)."""

import json
import tarfile
from functools import partial

from .layout import SUFFIXES, in_words
from .links import LABEL, MAX_FILE_BYTES, Link, SourceError, read_file

NO_CAPTION = "without a caption"


def of_shards(source, left_out):
    """Yield a `Link` per image of output_format "files": SHARD/KEY.jpg (or .png, .webp) and SHARD/KEY.json."""
    some = False
    for shard in sorted(path for path in source.glob("[0-9]*") if path.is_dir()):
        known = {}
        for file in sorted(shard.iterdir()):
            known.setdefault(file.stem, {})[file.suffix.lower()] = file
        for key, files in known.items():
            image = next((file for suffix, file in files.items() if suffix in SUFFIXES), None)
            about = files[".json"].read_bytes() if ".json" in files else None
            found = dict(read=partial(read_file, image), size=image.stat().st_size) if image else {}
            if link := _of_img2dataset(f"{shard.name}/{key}", about, found, left_out):
                some = True
                yield link
    _all_left_out(some, source, left_out)


def of_tars(source, left_out):
    """Yield a `Link` per image of output_format "webdataset": the same files in SHARD.tar."""
    some = False
    for shard in sorted(source.glob("[0-9]*.tar")):
        known = {}
        try:
            with tarfile.open(shard) as archive:
                for member in archive:
                    key, _, kind = member.name.partition(".")
                    about, found = known.setdefault(key, ([], {}))
                    if kind == "json":
                        about.append(archive.extractfile(member).read())
                    elif f".{kind.lower()}" in SUFFIXES:
                        read = partial(_read_piece, shard, member.offset_data, member.size)
                        found.update(read=read, size=member.size)
        except (tarfile.TarError, OSError, EOFError):
            left_out["incomplete tars"] += 1
        for key, (about, found) in known.items():
            if link := _of_img2dataset(f"{shard.name}/{key}", about[0] if about else None, found, left_out):
                some = True
                yield link
    _all_left_out(some, source, left_out)


def _read_piece(file, offset, size):
    if size > MAX_FILE_BYTES:
        raise SourceError(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
    with open(file, "rb") as whole:
        whole.seek(offset)
        body = whole.read(size)
    if len(body) < size:
        raise SourceError("The tar ends within the file.")
    return body


def _of_img2dataset(key, about, found, left_out):
    """Return the `Link` of one image, or None if it has no label.

    about: the bytes of its JSON, or None. found: the arguments of `Link` that say how to read the image; {} if there
    is no image.
    """
    if about is None and not found:
        return None  # a caption only, or another file
    if about is None or not found:
        left_out["without JSON" if found else "with JSON but no image"] += 1
        return None
    try:
        about = json.loads(about)
        label = next((about[column] for column in (*LABEL, "caption") if about.get(column)), None)
    except (ValueError, AttributeError):  # truncated, or not an object
        left_out["whose JSON cannot be read"] += 1
        return None
    if label is None:
        left_out[NO_CAPTION] += 1
        return None
    return Link(str(about.get("url") or key), str(label), source="img2dataset", **found)


def _all_left_out(some, source, left_out):
    if not some:
        hint = " Run img2dataset with --caption_col label." if left_out[NO_CAPTION] else ""
        raise SourceError(f"{source} contains no images with a label. {in_words(left_out)}.{hint}")
