"""Render images that are like photographs: textured things, lit from one side, in front of clutter.

They differ only in texture (stripes, spots or a net): colours, scale, angle, outline, light and
background are drawn at random. ImageNet's features separate them; from scratch, a few dozen do not suffice.
"""

import numpy as np
from PIL import Image

LABELS = "net", "spots", "stripes"
SIZE = 240


def render(label, seed):
    """Return an RGB image of the texture called `label`; the same for the same seed."""
    rng = np.random.default_rng([LABELS.index(label), seed])
    background = sum(smooth(rng, cells, 3) * weight for cells, weight in ((3, 0.5), (8, 0.3), (30, 0.2)))
    y, x = np.indices((SIZE, SIZE)) / SIZE + 0.05 * (smooth(rng, 4, 2).transpose(2, 0, 1) - 0.5)
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(45, 90)
    u = frequency * (np.cos(angle) * x + np.sin(angle) * y)
    v = frequency * (np.cos(angle) * y - np.sin(angle) * x)
    wave = {"stripes": np.sin(u), "spots": np.sin(u) + np.sin(v) - 0.6, "net": 0.8 - np.maximum(np.sin(u), np.sin(v))}
    share = 1 / (1 + np.exp(-6 * wave[label]))[..., None]
    dark, bright = rng.uniform(0, 0.45, 3), rng.uniform(0.55, 1, 3)
    if rng.random() < 0.5:
        dark, bright = bright, dark
    light = 0.55 + 0.6 * smooth(rng, 2, 1)
    outline = smooth(rng, 3, 1) - 1.2 * np.hypot(x - rng.uniform(0.4, 0.6), y - rng.uniform(0.4, 0.6))[..., None]
    inside = 1 / (1 + np.exp(-40 * (outline - np.quantile(outline, 0.45))))
    image = inside * light * (share * bright + (1 - share) * dark) + (1 - inside) * background
    image += rng.normal(0, 0.02, image.shape)
    return Image.fromarray(np.uint8(255 * image.clip(0, 1)))


def smooth(rng, cells, channels):
    """Return an array (SIZE, SIZE, channels) that varies smoothly between 0 and 1, `cells` times along a side."""
    planes = [Image.fromarray(np.float32(rng.random((cells, cells)))) for _ in range(channels)]
    return np.stack([p.resize((SIZE, SIZE), Image.Resampling.BICUBIC) for p in planes], -1).clip(0, 1)


def write_textures(folder, per_label):
    """Write `per_label` images of each label into a folder of its own, as JPEG."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for seed in range(per_label):
            render(label, seed).save(folder / label / f"{seed}.jpg", quality=90)
