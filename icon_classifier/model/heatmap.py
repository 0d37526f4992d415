"""Overlay the heatmap of a prediction on the image."""

import numpy as np
from PIL import Image

from .preprocessing import visible_box


def overlay_heatmap(image, heatmap, preprocessing):
    """Return a greyish RGB copy of `image`, redder where a prediction's `heatmap` (height, width) is larger.

    preprocessing: the card's `preprocessing`, which determines the part of the image that the network sees. Negative
    values of the heatmap are not shown; the others are scaled by the largest.
    """
    left, top, right, bottom = map(round, visible_box(image.size, preprocessing))
    shares = np.clip(heatmap, 0, None)
    shares = shares / max(shares.max(), 1e-9)
    small = Image.fromarray((160 * shares).astype(np.uint8))
    mask = Image.new("L", image.size)
    mask.paste(small.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
    grey = Image.blend(image, image.convert("L").convert("RGB"), 0.8)
    return Image.composite(Image.new("RGB", image.size, (230, 30, 20)), grey, mask)
