"""Upper floor: classifiers that were read before the visitors came, to be shared by their kernels."""

import io
from pathlib import Path

from PIL import Image

from ..model.classifier import TWIN, load_classifier

_classifiers = {}


def preload(path):
    """Read the export at `path` and predict once, so that everything is in memory; raises `ExportError`."""
    classifier = load_classifier(path)
    for size in ((640, 480), (48, 64)):
        file = io.BytesIO()
        Image.linear_gradient("L").resize(size).convert("RGB").save(file, "JPEG")
        classifier.predict(file.getvalue())
    _classifiers[_key(path)] = classifier


def find_classifier(path):
    """The classifier of the export at `path`: the preloaded one if its files are still the same, else read anew.

    Raises `ExportError`.
    """
    return _classifiers.get(_key(path)) or load_classifier(path)


def _key(path):
    """What identifies an export: where it is, and the times and sizes of its files."""
    path = Path(path).resolve()
    files = [path, path.with_name(TWIN), path.with_name("card.json")]
    stats = [file.stat() if file.is_file() else None for file in files]
    return path, *(stat and (stat.st_mtime_ns, stat.st_size) for stat in stats)
