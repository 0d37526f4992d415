"""Print what `import icon_classifier` loads, what its public names load, and whether exceptions have one base class."""

import sys

import icon_classifier

print(*[name for name in sys.modules if name.startswith("icon_classifier.")])

from icon_classifier import *  # noqa: E402, F403
from icon_classifier.images import ImageError  # noqa: E402
from icon_classifier.model.card import CardError  # noqa: E402
from icon_classifier.model.classifier import ExportError  # noqa: E402

print(*sorted(icon_classifier.__all__), *sorted({"fastai", "torch", "onnxruntime"} & set(sys.modules)))
print(all(issubclass(error, icon_classifier.IconClassifierError) for error in (ImageError, CardError, ExportError)))
