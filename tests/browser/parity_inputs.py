"""Images of all kinds, generated, for the comparison of the static page's engine with Python."""

import itertools
import random

import numpy as np
from PIL import Image
from support.profiles import LINEAR_GREY, P3, PRESS, gamma, icc, rgb_profile, table_of
from support.profiles import P3_COLOURS as COLOURS
from test_images import encoded, png

from icon_classifier.training.sample import LABELS, draw_icon, find_glyphs

SIZES = [(64, 64), (233, 171), (171, 233), (640, 360), (12, 9), (33, 57), (700, 40), (40, 700), (48, 48), (55, 56)]
ICC = {
    "P3": P3,
    "gamma 2.2": rgb_profile(*COLOURS, gamma(2.2)),
    "table": rgb_profile(*COLOURS, table_of(lambda x: x**1.8)),
}
GREY_22 = icc(b"GRAY", kTRC=gamma(2.2))


def scenes():
    """Yield RGB images without end: a drawn icon with smooth colours and some noise, in all `SIZES`."""
    rng, noise = random.Random(3), np.random.default_rng(3)
    glyphs = [find_glyphs(label) for label in LABELS]
    for number in itertools.count():
        size = SIZES[number % len(SIZES)]
        icon = draw_icon(rng.choice(glyphs[number % 3]), rng, 96).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        cells = Image.fromarray(noise.integers(0, 256, (3, 3, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(Image.blend(icon, cells, 0.3), int) + noise.integers(-8, 9, (*size[::-1], 3))
        yield Image.fromarray(np.uint8(pixels.clip(0, 255)))


def turned(image, number):
    """The bytes of a JPEG of `image` with the EXIF orientation `number`."""
    return encoded(image, "JPEG", exif=turned_exif(number), quality=90)


def sixteen_bits(image, grey):
    """A PNG of 16 bits per channel."""
    values = np.asarray(image.convert("L") if grey else image).astype(">u2")
    values = values.reshape(*values.shape[:2], -1) * 257 - values.reshape(*values.shape[:2], -1) % 7 * 31
    rows = b"".join(b"\0" + row.clip(0, 65535).astype(">u2").tobytes() for row in values)
    return png(*image.size, rows, bits=16, colour=0 if grey else 2)


def animated(image, format):
    others = [Image.new("RGB", image.size, colour) for colour in ("red", "blue")]
    return encoded(
        image, format, save_all=True, append_images=others, **({"lossless": True} if format == "WEBP" else {})
    )


def kinds():
    """Return {kind: function from an RGB image and a number to the bytes of a file}."""

    def jpeg(**options):
        return lambda image, _: encoded(image, "JPEG", **options)

    def mode(mode, format="PNG", **options):
        return lambda image, _: encoded(image.convert(mode), format, **options)

    return {
        "jpeg 4:2:0": jpeg(quality=75, subsampling=2),
        "jpeg 4:2:2": jpeg(quality=85, subsampling=1),
        "jpeg 4:4:4": jpeg(quality=95, subsampling=0),
        "jpeg progressive": jpeg(quality=60, progressive=True),
        "jpeg coarse": jpeg(quality=10),
        "jpeg grey": mode("L", "JPEG"),
        "jpeg turned": lambda image, i: turned(image, 1 + i % 8),
        "jpeg profile": lambda image, i: encoded(image, "JPEG", icc_profile=[*ICC.values()][i % len(ICC)]),
        "png": mode("RGB"),
        "png grey": mode("L"),
        "png bits": mode("1"),
        "png palette": lambda image, _: encoded(image.quantize(37)),
        "png turned": lambda image, i: encoded(image, exif=turned_exif(1 + i % 8)),
        "png profile": lambda image, i: encoded(image, icc_profile=[*ICC.values()][i % len(ICC)]),
        "png opaque alpha": mode("RGBA"),
        "webp lossless": mode("RGB", "WEBP", lossless=True),
        "webp lossy": mode("RGB", "WEBP", quality=80),
        "webp profile": lambda image, i: encoded(
            image, "WEBP", lossless=True, icc_profile=[*ICC.values()][i % len(ICC)]
        ),
        "webp animated": lambda image, _: animated(image, "WEBP"),
        "gif": mode("P", "GIF"),
        "gif animated": lambda image, _: animated(image.quantize(64), "GIF"),
        "bmp": mode("RGB", "BMP"),
        "bmp palette": lambda image, _: encoded(image.quantize(20), "BMP"),
        "jpeg cmyk": mode("CMYK", "JPEG"),
        "png 16 bits": lambda image, _: sixteen_bits(image, grey=False),
        "png grey 16 bits": lambda image, _: sixteen_bits(image, grey=True),
        "png grey profile": lambda image, _: encoded(image.convert("L"), icc_profile=GREY_22),
        "png linear grey profile": lambda image, _: encoded(image.convert("L"), icc_profile=LINEAR_GREY),
        "jpeg cmyk profile": mode("CMYK", "JPEG", icc_profile=PRESS),
        "png transparent": lambda image, _: encoded(translucent(image)),
        "png transparent profile": lambda image, i: encoded(
            translucent(image), icc_profile=[*ICC.values()][i % len(ICC)]
        ),
        "webp transparent": lambda image, _: encoded(translucent(image), "WEBP", lossless=True),
        "gif transparent": lambda image, _: encoded(image.quantize(37), "GIF", transparency=3),
        "webp turned": lambda image, i: encoded(image, "WEBP", lossless=True, exif=turned_exif(1 + i % 8)),
        "avif": mode("RGB", "AVIF", quality=80),
        "avif turned": lambda image, i: encoded(image, "AVIF", quality=80, exif=turned_exif(1 + i % 8)),
    }


def turned_exif(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def translucent(image):
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def files(each):
    """Yield (kind, bytes) of `each` images per kind."""
    source = scenes()
    for kind, make in kinds().items():
        for number in range(each):
            yield kind, make(next(source), number)
