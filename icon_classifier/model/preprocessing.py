"""Preprocess an image as fastai does, according to the `preprocessing` of a card."""

import math

import numpy as np
from PIL import Image

RESIZES = ("RandomResizedCrop", "crop", "pad", "squish")
PAD_MODES = {"zeros": "constant", "border": "edge", "reflection": "reflect"}  # fastai's name -> numpy's


def prepare(image, preprocessing):
    """Return the network's input for an RGB image: a float32 array (3, height, width).

    preprocessing: a dict of `resize` (RandomResizedCrop, crop, pad or squish) with its `val_xtra` or `pad_mode`;
    `size` [width, height] in px; `resample`, Pillow's number of the filter; `div`; and `mean` and `std`, or None.

    The result equals what fastai 2.8 makes of a validation image (fastai.vision.augment), pixel by pixel.
    """
    pixels = np.asarray(_resize(image, preprocessing), np.float32).transpose(2, 0, 1) / np.float32(preprocessing["div"])
    if preprocessing.get("mean") is not None:
        mean, std = (np.asarray(preprocessing[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels)


def visible_box(size, preprocessing):
    """Return the box (left, top, right, bottom) of an image that is visible to the network after `prepare`.

    size: the width and height of the image. All values are in px. With `resize` pad, the box is larger than the image.
    """
    if preprocessing["resize"] == "RandomResizedCrop":
        # In validation fastai resizes the whole image to a slightly larger size and crops the centre.
        extra = _extra(preprocessing)
        ends = [(extra // 2 / (n + extra), (extra // 2 + n) / (n + extra)) for n in preprocessing["size"]]
        (left, right), (top, bottom) = ((a * n, b * n) for (a, b), n in zip(ends, size, strict=True))
        return left, top, right, bottom
    if preprocessing["resize"] == "squish":
        return 0, 0, *size
    scales = [n / m for n, m in zip(size, preprocessing["size"], strict=True)]
    scale = max(scales) if preprocessing["resize"] == "pad" else min(scales)
    width, height = (int(scale * n) for n in preprocessing["size"])
    left = int(0.5 * (size[0] - width))
    top = int(0.5 * (size[1] - height))
    return left, top, left + width, top + height


def _extra(preprocessing):
    return math.ceil(max(preprocessing["size"]) * preprocessing["val_xtra"] / 8) * 8


def _resize(image, preprocessing):
    size = tuple(preprocessing["size"])
    resample = Image.Resampling(preprocessing["resample"])
    if preprocessing["resize"] == "RandomResizedCrop":
        extra = _extra(preprocessing)
        image = image.resize((size[0] + extra, size[1] + extra), resample)
        return image.crop((extra // 2, extra // 2, extra // 2 + size[0], extra // 2 + size[1]))
    left, top, right, bottom = visible_box(image.size, preprocessing)
    before = max(-left, 0), max(-top, 0)
    after = max(right - image.width, 0), max(bottom - image.height, 0)
    image = image.crop((max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)))
    if any(before + after):
        edges = ((before[1], after[1]), (before[0], after[0]), (0, 0))
        image = Image.fromarray(np.pad(np.asarray(image), edges, mode=PAD_MODES[preprocessing["pad_mode"]]))
    return image.resize(size, resample)
