"""Turn an image into the network's input, by the card's `preprocessing` and exactly as fastai does it."""

import math

import numpy as np
from PIL import Image

RESIZES = ("RandomResizedCrop", "crop", "pad", "squish")
PAD_MODES = {"zeros": "constant", "border": "edge", "reflection": "reflect"}  # fastai's names: numpy's


def prepare(image, rule):
    """Return the float32 array (3, height, width) that `rule` makes of an RGB image.

    `rule` is a card's `preprocessing`: `resize` (RandomResizedCrop, crop, pad or squish) with its `val_xtra` or
    `pad_mode`, `size` [width, height] in px, `resample` (Pillow's number), `div`, and `mean` and `std` or None.
    Pixel for pixel what fastai 2.8 does to validation pictures (fastai.vision.augment).
    """
    pixels = np.asarray(_resize(image, rule), np.float32).transpose(2, 0, 1) / np.float32(rule["div"])
    if rule.get("mean") is not None:
        mean, std = (np.asarray(rule[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels)


def visible_box(size, rule):
    """Return the box (left, top, right, bottom) of a picture that `prepare` shows the network.

    `size`: the picture's width and height. All in px. With `resize` pad it is larger than the picture.
    """
    if rule["resize"] == "RandomResizedCrop":
        # For validation: the whole picture is squeezed into a somewhat larger frame, and its middle is taken.
        extra = _extra(rule)
        ends = [(extra // 2 / (n + extra), (extra // 2 + n) / (n + extra)) for n in rule["size"]]
        (left, right), (top, bottom) = ((a * n, b * n) for (a, b), n in zip(ends, size, strict=True))
        return left, top, right, bottom
    if rule["resize"] == "squish":
        return 0, 0, *size
    scales = [n / m for n, m in zip(size, rule["size"], strict=True)]
    scale = max(scales) if rule["resize"] == "pad" else min(scales)
    width, height = (int(scale * n) for n in rule["size"])
    left = int(0.5 * (size[0] - width))
    top = int(0.5 * (size[1] - height))
    return left, top, left + width, top + height


def _extra(rule):
    return math.ceil(max(rule["size"]) * rule["val_xtra"] / 8) * 8


def _resize(image, rule):
    size = tuple(rule["size"])
    resample = Image.Resampling(rule["resample"])
    if rule["resize"] == "RandomResizedCrop":
        extra = _extra(rule)
        image = image.resize((size[0] + extra, size[1] + extra), resample)
        return image.crop((extra // 2, extra // 2, extra // 2 + size[0], extra // 2 + size[1]))
    left, top, right, bottom = visible_box(image.size, rule)
    before = max(-left, 0), max(-top, 0)
    after = max(right - image.width, 0), max(bottom - image.height, 0)
    image = image.crop((max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)))
    if any(before + after):
        edges = ((before[1], after[1]), (before[0], after[0]), (0, 0))
        image = Image.fromarray(np.pad(np.asarray(image), edges, mode=PAD_MODES[rule["pad_mode"]]))
    return image.resize(size, resample)
