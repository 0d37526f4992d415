"""Ground floor: a picture becomes the network's input, by the card's rule and exactly as fastai does it."""

import math

import numpy as np
from PIL import Image

_PAD_MODES = {"zeros": "constant", "border": "edge", "reflection": "reflect"}


def prepare(image, rule):
    """The float32 array (3, height, width) that `rule` makes of an RGB image.

    `rule` is a card's `preprocessing`: `resize` (RandomResizedCrop, crop, pad or squish) with its `val_xtra` or
    `pad_mode`, `size` [width, height] in px, `resample` (Pillow's number), `div`, and `mean` and `std` or None.
    Pixel for pixel what fastai 2.8 does to validation pictures (fastai.vision.augment).
    """
    pixels = np.asarray(_resize(image, rule), np.float32).transpose(2, 0, 1) / np.float32(rule["div"])
    if rule["mean"] is not None:
        mean, std = (np.asarray(rule[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels)


def _resize(image, rule):
    size, how, resample = tuple(rule["size"]), rule["resize"], Image.Resampling(rule["resample"])
    if how == "RandomResizedCrop":
        # For validation: the whole picture is squeezed into a somewhat larger frame, and its middle is taken.
        extra = math.ceil(max(size) * rule["val_xtra"] / 8) * 8
        image = image.resize((size[0] + extra, size[1] + extra), resample)
        return image.crop((extra // 2, extra // 2, extra // 2 + size[0], extra // 2 + size[1]))
    if how != "squish":
        image = _to_shape(image, size, rule["pad_mode"] if how == "pad" else None)
    return image.resize(size, resample)


def _to_shape(image, size, pad_mode):
    """Give `image` the proportions of `size`: its middle or, with a `pad_mode`, all of it and something around."""
    width, height = image.size
    by_width, by_height = width / size[0], height / size[1]
    scale = max(by_width, by_height) if pad_mode else min(by_width, by_height)
    target = int(scale * size[0]), int(scale * size[1])
    left, top = int(0.5 * (width - target[0])), int(0.5 * (height - target[1]))
    image = image.crop((max(left, 0), max(top, 0), min(left + target[0], width), min(top + target[1], height)))
    before = max(-left, 0), max(-top, 0)
    after = max(target[0] - width + left, 0), max(target[1] - height + top, 0)
    if any(before + after):
        edges = ((before[1], after[1]), (before[0], after[0]), (0, 0))
        image = Image.fromarray(np.pad(np.asarray(image), edges, mode=_PAD_MODES[pad_mode]))
    return image
