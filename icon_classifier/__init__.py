"""Icon Classifier: from a list of labels to a web page that tells them apart."""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "Card": ".model.card",
    "Classifier": ".model.classifier",
    "IconClassifierError": ".errors",
    "Prediction": ".model.classifier",
    "load_classifier": ".model.classifier",
}
__all__ = ["Card", "Classifier", "IconClassifierError", "Prediction", "load_classifier"]


def __getattr__(name):
    """Import a public name on first use (PEP 562), because importing any module of the package runs this file."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
