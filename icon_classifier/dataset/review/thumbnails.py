"""Make the thumbnails of a review."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from ...images import ImageError, open_image

SIDE = 224  # px, at most
CACHED = 400  # thumbnails; some 4 MB


class Thumbnails:
    """Makes JPEGs of the photos in the folder `photos`, and keeps the latest."""

    def __init__(self, photos):
        self.photos = Path(photos)
        pool = ThreadPoolExecutor()  # Pillow decodes without holding the interpreter's lock
        self._future = lru_cache(CACHED)(lambda file, _version: pool.submit(self._make, file))

    def prepare(self, files):
        """Begin to make the thumbnails of `files`, which will be asked for soon; return their futures."""
        return [self._future(file, self._version(file)) for file in files]

    def __call__(self, files):
        """Return the bytes of a JPEG per file (below the folder), or None for one that cannot be decoded."""
        futures = zip(files, self.prepare(files), strict=True)
        return [future.result() or self._make(file) for file, future in futures]  # what failed may succeed now

    def _version(self, file):
        """Return what changes when there is another photo at the path `file`; None if there is none."""
        try:
            status = (self.photos / file).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _make(self, file):
        try:
            image = open_image((self.photos / file).read_bytes(), longest=SIDE)
        except (ImageError, OSError):
            return None
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=80)
        return jpeg.getvalue()
