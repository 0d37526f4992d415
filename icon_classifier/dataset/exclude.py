"""Move photos out of the dataset's folders and back. Nothing is deleted."""

EXCLUDED_FOLDER = ".excluded"  # in the dataset; find_photos and fastai's get_image_files skip hidden folders


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
