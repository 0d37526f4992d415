"""Test preprocessing.visible_box and heatmap.py: the heatmap covers the part of the image that the network sees."""

import numpy as np
import pytest
from PIL import Image

from icon_classifier.model.heatmap import overlay_heatmap
from icon_classifier.model.preprocessing import prepare, visible_box

PREPROCESSING = {
    "size": [60, 40],
    "resample": 2,
    "div": 1,
    "mean": None,
    "std": None,
    "val_xtra": 0.14,
    "pad_mode": "zeros",
}
SIZE = (240, 200)


def ramps():
    """Return an image whose red increases to the right and whose green increases downwards."""
    across, down = (np.linspace(0, 255, n, dtype=np.float32) for n in SIZE)
    pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = across.round(), down[:, None].round()
    return Image.fromarray(pixels)


@pytest.mark.parametrize("how", ["RandomResizedCrop", "crop", "squish"])
def test_visible_box_matches_prepare(how):
    """The outermost columns and rows of the network's input have the colours at the edges of the box."""
    pixels = prepare(ramps(), {**PREPROCESSING, "resize": how})
    left, top, right, bottom = visible_box(SIZE, {**PREPROCESSING, "resize": how})
    inside = ((right - left) / 60 / 2, (bottom - top) / 40 / 2)
    for found, edge, n in [
        (pixels[0, :, 0].mean(), left + inside[0], SIZE[0]),
        (pixels[0, :, -1].mean(), right - inside[0], SIZE[0]),
        (pixels[1, 0].mean(), top + inside[1], SIZE[1]),
        (pixels[1, -1].mean(), bottom - inside[1], SIZE[1]),
    ]:
        assert found == pytest.approx(255 * (edge - 0.5) / (n - 1), abs=3)


def test_padding_shows_more_than_the_image():
    left, top, right, bottom = visible_box(SIZE, {**PREPROCESSING, "resize": "pad"})
    assert (top, bottom) == (0, 200) and left < 0 and right > 240 and (right - left) / (bottom - top) == 60 / 40
    assert prepare(ramps(), {**PREPROCESSING, "resize": "pad"})[:, :, 0].max() == 0  # zeros at the sides


@pytest.mark.parametrize("how", ["RandomResizedCrop", "crop", "squish", "pad"])
def test_heatmap_is_at_its_position(how):
    heatmap = np.array([[0, 0, 5.0], [0, -3, 0]])  # 2 x 3 cells; only positive values are shown
    laid = np.asarray(
        overlay_heatmap(Image.new("RGB", SIZE, "white"), heatmap, {**PREPROCESSING, "resize": how})
    ).astype(int)
    redness = laid[..., 0] - laid[..., 1]
    y, x = np.unravel_index(redness.argmax(), redness.shape)
    assert x > 0.6 * SIZE[0] and y < 0.5 * SIZE[1] and redness.max() > 100
    assert redness[:, : SIZE[0] // 3].max() < 10 and redness[int(0.9 * SIZE[1]) :].max() < 30


def test_empty_heatmap_has_no_colour():
    grey = np.asarray(
        overlay_heatmap(Image.new("RGB", SIZE, "white"), np.zeros((2, 2)), {**PREPROCESSING, "resize": "squish"})
    )
    assert (grey == 255).all()
