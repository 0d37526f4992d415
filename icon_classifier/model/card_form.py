"""Validate the data of card.json, so that code which uses a card can rely on its structure."""

import base64

from .compare import read_marks
from .preprocessing import PAD_MODES, RESIZES

NUMBER = (int, float)
PAIR = [NUMBER, NUMBER]
CHANNELS = [NUMBER, NUMBER, NUMBER]

ERROR = {"errors": int, "photos": int, "rate": NUMBER, "interval": PAIR}

# A form is one of: a type or a tuple of types; a list of forms, one per item; a dict of forms by key. A key that ends
# with "?" is optional and may be null. Keys that a form does not mention are not checked.
CARD = {
    "labels": list,
    "preprocessing?": {
        "resize": str,
        "size": [int, int],
        "resample": int,
        "div": NUMBER,
        "mean?": CHANNELS,
        "std?": CHANNELS,
    },
    "figures": {
        "photos?": {"train": int, "valid": int},
        "error?": ERROR,
        "per_label?": dict,
        "marks?": {"photos_sha256": str, "right": str},
        "learning_curve?": {
            "photos": int,
            "points": list,
            "gain": NUMBER,
            "interval": PAIR,
            "expected": NUMBER,
            "pretrained": bool,
        },
        "cross_validation?": {**ERROR, "folds": int, "pretrained": bool},
        "test?": {**ERROR, "unreadable": int, "seen": int},
        "calibration?": {"photos": int, "before": NUMBER},
        "ood?": {"photos": int},
    },
    "training": {
        "arch?": str,
        "source?": str,
        "epochs?": NUMBER,
        "pretrained?": bool,
        "size?": int,
        "batch_size?": int,
        "seed?": int,
        "mixed_precision?": bool,
        "processes?": int,
        "seconds?": NUMBER,
        "device?": str,
        "split?": str,
        "manifest?": str,
    },
    "versions": dict,
    "sha256": str,
    "onnx?": {
        "sha256": str,
        "precision?": str,
        "difference?": NUMBER,
        "int8?": {"same": NUMBER, "photos": int, "difference": NUMBER},
    },
}
_JSON_TYPES = {
    bool: "true or false",
    dict: "an object",
    float: "a decimal number",
    int: "an integer",
    list: "a list",
    str: "a string",
}
TEMPERATURE = {"temperature": NUMBER, "after": NUMBER}
AUROC = {"auroc": NUMBER, "interval": PAIR, "others": int, "refused": int}
OOD_SHARE = {"kept": int, "share": NUMBER, "share_interval": PAIR}
REASON = {"reason": str}
LABEL = {"photos": int, "predicted": int, "right": int, "recall": PAIR, "precision": PAIR}
CURVE_POINT = {"photos": int, "subsets": int, "rate": NUMBER, "interval": PAIR}


def check_card(data):
    """Check the data of card.json. Raises ValueError with a message that names the invalid field."""
    check_form(data, CARD, "the card")
    _require(data["labels"] and all(isinstance(label, str) for label in data["labels"]), "labels", "a list of labels")
    _check_preprocessing(data)
    _check_figures(data["figures"])
    _check_judgement(data["figures"])
    if data["training"]:
        check_form(data["training"], {"made": str}, "training")
    _require(all(isinstance(version, str) for version in data["versions"].values()), "versions", "an object of strings")
    if "examples" in data:
        check_form(data["examples"], dict, "examples")
        _check_examples(data["examples"])


def check_form(value, form, where):
    """Check that `value`, read from JSON, has the given `form` (see `CARD`).

    where: how the error message refers to the value. Raises ValueError.
    """
    if isinstance(form, dict):
        _require(isinstance(value, dict), where, "an object")
        for key, inner in form.items():
            name = key.removesuffix("?")
            if name == key or value.get(name) is not None:
                _require(name in value, where, f'an object with "{name}"')
                check_form(value[name], inner, name if where == "the card" else f"{where}.{name}")
    elif isinstance(form, list):
        _require(isinstance(value, list) and len(value) == len(form), where, f"a list of {len(form)}")
        for item, inner in zip(value, form, strict=True):
            check_form(item, inner, where)
    else:
        types = form if isinstance(form, tuple) else (form,)
        fits = isinstance(value, types) and (form is bool or not isinstance(value, bool))  # bool is a subclass of int
        _require(fits, where, " or ".join(_JSON_TYPES[each] for each in types))


def _require(right, where, what):
    if not right:
        raise ValueError(f"{where} should be {what}")


def _check_preprocessing(data):
    _require("preprocessing" in data, "the card", 'an object with "preprocessing"')
    preprocessing = data["preprocessing"]
    if preprocessing is None:
        _require(data.get("onnx") is None, "preprocessing", "an object if there is an ONNX model")
        return
    _require(preprocessing["resize"] in RESIZES, "preprocessing.resize", " or ".join(RESIZES))
    if preprocessing.get("mean") is not None:
        check_form(preprocessing, {"std": CHANNELS}, "preprocessing")
    if preprocessing["resize"] == "RandomResizedCrop":
        check_form(preprocessing, {"val_xtra": NUMBER}, "preprocessing")
    if preprocessing["resize"] == "pad":
        _require(preprocessing.get("pad_mode") in PAD_MODES, "preprocessing.pad_mode", " or ".join(PAD_MODES))


def _check_figures(figures):
    if calibration := figures.get("calibration"):
        check_form(calibration, TEMPERATURE if "after" in calibration else REASON, "figures.calibration")
    if ood := figures.get("ood"):
        form = REASON if "reason" in ood else OOD_SHARE
        check_form(ood, {**form, **(AUROC if "auroc" in ood else {})}, "figures.ood")


def _check_judgement(figures):
    for label, figure in (figures.get("per_label") or {}).items():
        check_form(figure, LABEL, f"figures.per_label.{label}")
    if curve := figures.get("learning_curve"):
        check_form(curve, {"points": [CURVE_POINT] * 3}, "figures.learning_curve")
    if marks := figures.get("marks"):
        check_form(figures, {"error": ERROR}, "figures")
        try:
            read_marks(marks["right"], figures["error"]["photos"])
        except ValueError:
            raise ValueError("figures.marks.right should be one bit per validation photo, in base64") from None


def _check_examples(examples):
    for label, image in examples.items():
        try:
            base64.b64decode(image, validate=True)
        except (TypeError, ValueError):
            raise ValueError(f"examples.{label} should be an image in base64") from None
