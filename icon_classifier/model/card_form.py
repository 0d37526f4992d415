"""The form that the data in card.json must have, so that nothing which reads a card later can fail."""

import base64

from .preprocessing import PAD_MODES, RESIZES

NUMBER = (int, float)
PAIR = [NUMBER, NUMBER]
CHANNELS = [NUMBER, NUMBER, NUMBER]

# A form is a type or a tuple of types; a list of forms, one per item; or a dict of forms by key. A key that ends with
# "?" may be missing, or null. Keys that a form does not name are free.
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
        "error?": {"errors": int, "photos": int, "rate": NUMBER, "interval": PAIR},
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
REASON = {"reason": str}


def check_card(data):
    """Raise ValueError, with a message that names the field, unless `data` (from card.json) has a card's form."""
    check_form(data, CARD, "the card")
    _require(data["labels"] and all(isinstance(label, str) for label in data["labels"]), "labels", "a list of labels")
    _check_preprocessing(data)
    _check_figures(data["figures"])
    if data["training"]:
        check_form(data["training"], {"made": str}, "training")
    _require(all(isinstance(version, str) for version in data["versions"].values()), "versions", "a version each")
    if "examples" in data:
        check_form(data["examples"], dict, "examples")
        _check_examples(data["examples"])


def check_form(value, form, where):
    """Raise ValueError unless `value`, read from JSON and named `where` in the message, has `form` (see `CARD`)."""
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
        fits = isinstance(value, types) and (form is bool or not isinstance(value, bool))  # to Python, True is an int
        _require(fits, where, " or ".join(_JSON_TYPES[each] for each in types))


def _require(right, where, what):
    if not right:
        raise ValueError(f"{where} should be {what}")


def _check_preprocessing(data):
    _require("preprocessing" in data, "the card", 'an object with "preprocessing"')
    rule = data["preprocessing"]
    if rule is None:
        _require(data.get("onnx") is None, "preprocessing", "an object where there is an ONNX model")
        return
    _require(rule["resize"] in RESIZES, "preprocessing.resize", " or ".join(RESIZES))
    if rule.get("mean") is not None:
        check_form(rule, {"std": CHANNELS}, "preprocessing")
    if rule["resize"] == "RandomResizedCrop":
        check_form(rule, {"val_xtra": NUMBER}, "preprocessing")
    if rule["resize"] == "pad":
        _require(rule.get("pad_mode") in PAD_MODES, "preprocessing.pad_mode", " or ".join(PAD_MODES))


def _check_figures(figures):
    if calibration := figures.get("calibration"):
        check_form(calibration, TEMPERATURE if "after" in calibration else REASON, "figures.calibration")
    if ood := figures.get("ood"):
        form = REASON if "reason" in ood else {"kept": int}
        check_form(ood, {**form, **(AUROC if "auroc" in ood else {})}, "figures.ood")


def _check_examples(examples):
    for label, image in examples.items():
        try:
            base64.b64decode(image, validate=True)
        except (TypeError, ValueError):
            raise ValueError(f"examples.{label} should be a picture in base64") from None
