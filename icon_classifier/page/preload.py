"""Keep the classifiers that the fork server loads in advance and all kernels share."""

import io
from pathlib import Path

from PIL import Image

from ..model.classifier import ONNX, load_classifier

_classifiers = {}


def preload(path):
    """Load the export at `path` and predict once, so that everything is in memory. Raises `ExportError`."""
    classifier = load_classifier(path)
    for size in ((640, 480), (48, 64)):
        file = io.BytesIO()
        Image.linear_gradient("L").resize(size).convert("RGB").save(file, "JPEG")
        classifier.predict(file.getvalue())
    _classifiers[_key(path)] = classifier


def find_classifier(path):
    """Return the classifier of the export at `path`: the preloaded one, or a new one if the files have changed.

    Raises `ExportError`.
    """
    return _classifiers.get(_key(path)) or load_classifier(path)


def _key(path):
    """Return the key of an export: its path, and the times and sizes of its files."""
    path = Path(path).resolve()
    files = [path, path.with_name(ONNX), path.with_name("card.json")]
    stats = [file.stat() if file.is_file() else None for file in files]
    return path, *(stat and (stat.st_mtime_ns, stat.st_size) for stat in stats)
