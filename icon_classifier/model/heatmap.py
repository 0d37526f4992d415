"""Lay a prediction's heatmap, where the model looked, over the image."""

import numpy as np
from PIL import Image

from .preprocessing import visible_box


def overlay_heatmap(image, heatmap, rule):
    """Return a greyish RGB copy of `image`, redder where a prediction's `heatmap` (height, width) is larger.

    `rule`: the card's `preprocessing`, which says what part of the picture the network saw. Only what speaks for the
    label is shown, as a share of the largest.
    """
    left, top, right, bottom = map(round, visible_box(image.size, rule))
    shares = np.clip(heatmap, 0, None)
    shares = shares / max(shares.max(), 1e-9)
    small = Image.fromarray((160 * shares).astype(np.uint8))
    mask = Image.new("L", image.size)
    mask.paste(small.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
    grey = Image.blend(image, image.convert("L").convert("RGB"), 0.8)
    return Image.composite(Image.new("RGB", image.size, (230, 30, 20)), grey, mask)
