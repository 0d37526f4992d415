"""Make the thumbnails of a review."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from ...images import ImageError, open_image

SIDE = 224  # px, at most
MAX_CACHED_THUMBNAILS = 400  # some 4 MB


class Thumbnails:
    """Make JPEGs of the photos in the folder `photos`, and keep the latest."""

    def __init__(self, photos):
        self.photos = Path(photos)
        pool = ThreadPoolExecutor()  # Pillow decodes without holding the interpreter's lock
        self._make_once = lru_cache(MAX_CACHED_THUMBNAILS)(lambda file, _: pool.submit(self._make, file))

    def prepare(self, files):
        """Begin to make the thumbnails of `files`, which will be asked for soon; return a future per file."""
        return [self._make_once(file, self._stamp(file)) for file in files]

    def __call__(self, files):
        """Return the bytes of a JPEG per file (below the folder), or None for one that cannot be decoded."""
        futures = zip(files, self.prepare(files), strict=True)
        return [future.result() or self._make(file) for file, future in futures]  # what failed may succeed now

    def _stamp(self, file):
        """Return what changes if another photo gets this path, as when one is excluded and another relabelled."""
        try:
            found = os.stat(self.photos / file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _make(self, file):
        try:
            image = open_image((self.photos / file).read_bytes(), max_side=SIDE)
        except (ImageError, OSError):
            return None
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=80)
        return jpeg.getvalue()
