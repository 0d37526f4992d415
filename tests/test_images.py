"""Test images.py with all kinds of files that visitors and search engines provide."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms
from support.process import PROGRAMS, python
from support.profiles import (
    LINEAR_GREY,
    P3,
    P3_COLOURS,
    P3_RED,
    PRESS,
    SRGB_COLOURS,
    SRGB_CURVE,
    SRGB_RED,
    gamma,
    icc,
    rgb_profile,
    table_of,
)

from icon_classifier.images import MAX_PIXELS, ImageError, open_image
from icon_classifier.server.capacity import DECODE_MEMORY

RED, BLUE, WHITE = (254, 0, 0), (0, 0, 254), (255, 255, 255)


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def two_halves(mode="RGB", size=(60, 40)):
    """Return an image that is red on the left and blue on the right, so that a rotation is visible."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def near(pixel, colour, by=12):
    return all(abs(a - b) <= by for a, b in zip(pixel, colour, strict=True))


def png(width, height, rows, bits=1, colour=0, interlace=0, **chunks):
    """Return a PNG of a kind that Pillow cannot write.

    rows: bytes; each row begins with its filter. colour: PNG's number of the colour type.
    """
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *((kind.encode(), data) for kind, data in chunks.items())]
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in [*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]:
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


def png_claiming(width, height):
    """Return a small PNG whose header declares that many pixels."""
    return png(width, height, b"\0" * 100)


ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)


def png_halves(left, right, bits, colour, interlace=0, **chunks):
    """Return a PNG of 16 x 16 pixels; left, right: the channels of a pixel in each half, numbers."""

    def row(xs):
        values = "".join(f"{value:0{bits}b}" for x in xs for value in (left if x < 8 else right))
        values += "0" * (-len(values) % 8)
        return b"\0" + int(values, 2).to_bytes(len(values) // 8)

    passes = ADAM7 if interlace else [(0, 0, 1, 1)]
    rows = [row(range(x, 16, dx)) for x, y, dx, dy in passes for _ in range(y, 16, dy)]
    return png(16, 16, b"".join(rows), bits, colour, interlace, **chunks)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "LA", "RGBA"])
def test_reads_every_format_and_mode(format, mode):
    try:
        data = encoded(two_halves(mode), format)
    except (OSError, ValueError):
        data = encoded(two_halves(mode).convert("RGB"), format)  # a mode that this format does not have
    image = open_image(data)
    assert (image.mode, image.size) == ("RGB", (60, 40))
    left, right = np.hsplit(np.asarray(image, float), 2)
    assert np.abs(left.mean((0, 1)) - right.mean((0, 1))).max() > 20


def test_bytes_path_and_image_give_the_same_result(tmp_path):
    data = encoded(two_halves())
    (tmp_path / "a.png").write_bytes(data)
    images = [
        open_image(s) for s in (data, memoryview(data), tmp_path / "a.png", str(tmp_path / "a.png"), two_halves())
    ]
    assert len({p.tobytes() for p in images}) == 1


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<html><body>404 Not Found</body></html>", "not an image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"/>', "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n", "not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (encoded(two_halves(), "TIFF"), "not an image"),
        (encoded(two_halves(), "ICO"), "not an image"),
        (encoded(two_halves(size=(600, 400)), "JPEG")[:-400], "incomplete"),
        (encoded(two_halves(size=(600, 400)))[:-60], "incomplete"),
        (encoded(Image.new("RGB", (1, 1))), "1 x 1"),
        (encoded(Image.new("RGB", (1, 4000))), "1 x 4000"),
        (png_claiming(10_000, 10_000), "megapixels"),
        (png_claiming(40_000, 40_000), "megapixels"),
    ],
)
def test_errors_are_sentences(data, word):
    with pytest.raises(ImageError) as refusal:
        open_image(data)
    assert word in str(refusal.value) and str(refusal.value).endswith(".")
    assert refusal.value.__cause__ is None


def test_decompression_bomb_is_refused_before_decoding():
    data = encoded(Image.new("1", (10_000, 10_000)))
    assert len(data) < 20_000 and 10_000 * 10_000 > MAX_PIXELS
    with pytest.raises(ImageError, match="10000 x 10000"):
        open_image(data)


def test_maximum_of_pixels_can_be_lowered():
    data = encoded(Image.new("RGB", (5000, 3000)))
    assert open_image(data).size == (5000, 3000)
    with pytest.raises(ImageError, match="5000 x 3000 pixels, more than the maximum of 12 megapixels"):
        open_image(data, max_pixels=12_500_000)


@pytest.mark.parametrize("longest", [None, 320])
@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "HEIF")],
)
def test_memory_of_a_twelve_megapixel_photo(tmp_path, mode, format, longest):
    profile = {"LA": LINEAR_GREY, "CMYK": PRESS}.get(mode, P3)
    image = Image.new("RGB", (4032, 3024), RED).convert(mode)
    image.save(tmp_path / "photo", format, progressive=mode == "RGB", icc_profile=profile)
    (tmp_path / "small").write_bytes(encoded(Image.new(mode, (40, 40)), format))
    took = float(python(PROGRAMS / "decode_memory.py", tmp_path / "photo", tmp_path / "small", str(longest)).stdout)
    assert 1 < took < DECODE_MEMORY


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    assert near(open_image(data).getpixel((20, 20)), RED)


GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types
COLOURS = dict(PLTE=bytes([10, 20, 30, 200, 100, 50]))


def words(*values):
    return struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(
    ("left", "right", "bits", "colour", "chunks", "expected"),
    [
        ([0], [1], 1, GREY, {}, (0, 255)),
        ([0], [1], 1, GREY, dict(tRNS=words(0)), (255, 255)),
        ([0], [1], 1, GREY, dict(tRNS=words(1)), (0, 255)),
        ([1], [2], 2, GREY, {}, (85, 170)),
        ([1], [2], 2, GREY, dict(tRNS=words(2)), (85, 255)),
        ([4], [11], 4, GREY, {}, (68, 187)),
        ([4], [11], 4, GREY, dict(tRNS=words(11)), (68, 255)),
        ([64], [192], 8, GREY, {}, (64, 192)),
        ([64], [192], 8, GREY, dict(tRNS=words(192)), (64, 255)),
        ([0x4000], [0xC0FF], 16, GREY, {}, (64, 192)),
        ([0x4000], [0xC0FF], 16, GREY, dict(tRNS=words(0xC0FF)), (64, 255)),
        ([0x4000], [0xC0FF], 16, GREY, dict(tRNS=words(0xC0FE)), (64, 192)),  # no pixel has that grey
        ([0x4000], [0xC0FF], 16, GREY, dict(tRNS=words(0)), (64, 192)),
        ([0], [0xC0FF], 16, GREY, dict(tRNS=words(0)), (255, 192)),
        ([1, 2, 3], [4, 5, 6], 8, RGB, {}, ((1, 2, 3), (4, 5, 6))),
        ([1, 2, 3], [4, 5, 6], 8, RGB, dict(tRNS=words(4, 5, 6)), ((1, 2, 3), 255)),
        ([0x4000, 0, 0x80FF], [0xC0FF, 7, 0], 16, RGB, {}, ((64, 0, 128), (192, 0, 0))),
        ([0x4000, 0, 0x80FF], [0xC0FF, 7, 0], 16, RGB, dict(tRNS=words(0xC0FF, 7, 0)), ((64, 0, 128), 255)),
        ([40, 0, 0], [0x2800, 0, 0], 16, RGB, dict(tRNS=words(40, 0, 0)), (255, (40, 0, 0))),
        ([0], [1], 1, PALETTE, COLOURS, ((10, 20, 30), (200, 100, 50))),
        ([0], [1], 1, PALETTE, COLOURS | dict(tRNS=b"\0"), (255, (200, 100, 50))),
        ([0], [1], 8, PALETTE, COLOURS | dict(tRNS=b"\xff\0"), ((10, 20, 30), 255)),
        ([0], [1], 4, PALETTE, COLOURS | dict(tRNS=b"\xff\x80"), ((10, 20, 30), (227, 177, 152))),
        ([64, 255], [192, 128], 8, GREY_ALPHA, {}, (64, 223)),
        ([0x4000, 0xFFFF], [0xC000, 0x8000], 16, GREY_ALPHA, {}, (64, 223)),
        ([1, 2, 3, 255], [4, 5, 6, 0], 8, RGB_ALPHA, {}, ((1, 2, 3), 255)),
        ([0x4000, 0, 0x80FF, 0xFFFF], [0, 0, 0, 0x8000], 16, RGB_ALPHA, {}, ((64, 0, 128), 127)),
    ],
)
def test_reads_png_of_any_bit_depth(left, right, bits, colour, chunks, expected, interlace):
    data = png_halves(left, right, bits, colour, interlace, **chunks)
    expected = [each if isinstance(each, tuple) else (each,) * 3 for each in expected]
    opened = open_image(data)
    assert all(near(opened.getpixel((x, y)), expected[x > 7], 1) for x in range(16) for y in range(16))
    with Image.open(io.BytesIO(data)) as image:
        assert open_image(image).tobytes() == opened.tobytes()
    small = open_image(data, max_side=8)
    assert near(small.getpixel((1, 4)), expected[0], 3) and near(small.getpixel((6, 4)), expected[1], 3)


def test_16_bits_are_scaled():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    values = np.asarray(open_image(encoded(Image.fromarray(ramp))))[..., 0]
    assert values.min() == 0 and values.max() == 255
    assert np.abs(values - ramp / 257).max() <= 0.501


@pytest.mark.parametrize("longest", [None, 8])
@pytest.mark.parametrize(
    ("mode", "left", "right", "expected"),
    [
        ("1", 0, 1, (0, 255)),
        ("L", 64, 192, (64, 192)),
        ("I;16", 0x4040, 0xC0C0, (64, 192)),
        ("I;16B", 0x4040, 0xC0C0, (64, 192)),
        ("I", 0x4040, 0xC0C0, (64, 192)),
        ("I", 64, 192, (64, 192)),  # `convert("I")` of 8 bits gives that
        ("I", -5, 70_000, (0, 255)),
        ("F", 0x4040, 0xC0C0, (64, 192)),
        ("F", 64, 192, (64, 192)),
        ("F", float("nan"), 192, (0, 192)),
        ("LA", (64, 255), (192, 128), (64, 223)),
        ("La", (64, 255), (96, 128), (64, 223)),
        ("PA", (64, 255), (192, 128), (64, 223)),
        ("P", 64, 192, (64, 192)),
        ("RGBA", (1, 2, 3, 255), (0, 0, 0, 0), ((1, 2, 3), 255)),
        ("RGBa", (1, 2, 3, 255), (0, 0, 0, 0), ((1, 2, 3), 255)),
        ("RGBX", (1, 2, 3, 255), (4, 5, 6, 0), ((1, 2, 3), (4, 5, 6))),
        ("CMYK", (255, 0, 0, 0), (0, 0, 0, 255), ((0, 255, 255), 0)),
        ("YCbCr", (64, 128, 128), (192, 128, 128), (64, 192)),
        ("HSV", (0, 255, 255), (0, 0, 192), ((255, 0, 0), 192)),
    ],
)
def test_reads_images_of_any_mode(mode, left, right, expected, longest):
    def halves(mode):
        image = Image.new(mode, (16, 16), left)
        image.paste(right, (8, 0, 16, 16))
        return image

    if mode[:2] == "I;":
        values = np.asarray(halves("I")).astype(">u2" if mode == "I;16B" else "<u2")
        image = Image.frombytes(mode, (16, 16), values.tobytes())
    else:
        image = halves(mode)
    if mode in ("P", "PA"):
        image.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    opened = open_image(image, longest)
    before = image.copy()
    for side, colour in zip((0.2, 0.8), expected, strict=True):
        colour = colour if isinstance(colour, tuple) else (colour,) * 3
        assert near(opened.getpixel((int(side * opened.width), 4)), colour, 3)
    assert image.tobytes() == before.tobytes() and (image.size, image.info) == (before.size, before.info)


# Colours


def file_of(image, format, profile):
    options = {"PNG": {}, "WEBP": dict(lossless=True)}.get(format, dict(quality=100, subsampling="4:4:4"))
    return encoded(image, format, icc_profile=profile, **options)


@pytest.mark.parametrize("longest", [None, 16])
@pytest.mark.parametrize(
    ("mode", "format"),
    [
        *[("RGB", format) for format in ("PNG", "JPEG", "WEBP", "AVIF", "HEIF")],
        *[("RGBA", format) for format in ("PNG", "WEBP", "AVIF", "HEIF")],
        ("P", "PNG"),
    ],
)
def test_profile_is_converted_to_srgb(mode, format, longest):
    image = Image.new("RGB", (40, 40), P3_RED)
    data = file_of(image.quantize(4) if mode == "P" else image.convert(mode), format, P3)
    assert near(open_image(data, longest).getpixel((8, 8)), SRGB_RED, 4)
    with Image.open(io.BytesIO(data)) as image:
        assert near(open_image(image, longest).getpixel((8, 8)), SRGB_RED, 4)


@pytest.mark.parametrize(
    ("colour", "pixel", "profile", "expected"),
    [
        (RGB, [51400, 15420, 10280], P3, SRGB_RED),
        (RGB_ALPHA, [51400, 15420, 10280, 65535], P3, SRGB_RED),
        (RGB_ALPHA, [51400, 15420, 10280, 32768], P3, (236, 148, 139)),  # half transparent, on white
        (GREY, [32896], LINEAR_GREY, (188, 188, 188)),
        (GREY, [32896], rgb_profile(*P3_COLOURS, gamma(1)), (188, 188, 188)),  # grey that was made of RGB
    ],
)
def test_profile_of_16_bit_image_is_converted(colour, pixel, profile, expected):
    data = png_halves(pixel, pixel, 16, colour, iCCP=b"P3\0\0" + zlib.compress(profile))
    assert near(open_image(data).getpixel((8, 8)), expected, 2)


@pytest.mark.parametrize(("mode", "format"), [("L", "PNG"), ("L", "JPEG"), ("LA", "PNG")])
def test_grey_profile_is_converted(mode, format):
    data = file_of(Image.new("L", (40, 40), 128).convert(mode), format, LINEAR_GREY)
    assert near(open_image(data).getpixel((8, 8)), (188,) * 3, 2)


def test_cmyk_profile_is_converted():
    image = Image.new("CMYK", (40, 40), (255, 0, 0, 0))
    assert near(open_image(file_of(image, "JPEG", None)).getpixel((8, 8)), (0, 255, 255), 3)
    assert near(open_image(file_of(image, "JPEG", PRESS)).getpixel((8, 8)), (0, 140, 184), 6)
    image = Image.new("CMYK", (40, 40), (0, 0, 0, 255))
    assert near(open_image(file_of(image, "JPEG", PRESS)).getpixel((8, 8)), (0, 0, 0), 3)


def test_srgb_profiles_change_nothing():
    names = [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile(*SRGB_COLOURS, SRGB_CURVE),
        rgb_profile(*SRGB_COLOURS, table_of(lambda v: ((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92)),
    ]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert len(set(names)) == 3
    for profile in names:
        assert open_image(encoded(noise, icc_profile=profile)).tobytes() == noise.tobytes()
    nearly = open_image(encoded(noise, icc_profile=rgb_profile(*SRGB_COLOURS, gamma(2.2)))).tobytes()
    assert nearly != noise.tobytes()
    assert np.abs(np.frombuffer(nearly, np.uint8).astype(int) - np.asarray(noise).ravel()).max() < 16


def test_result_has_no_profile():
    image = Image.new("RGB", (40, 40), P3_RED)
    data = encoded(image, icc_profile=P3)
    opened = open_image(data)
    assert opened.info == {} and open_image(opened).tobytes() == opened.tobytes()
    assert open_image(encoded(opened)).tobytes() == opened.tobytes()
    with Image.open(io.BytesIO(data)) as original:
        open_image(original)
        assert original.getpixel((8, 8)) == P3_RED and original.info["icc_profile"] == P3


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile",
        P3[:200],
        P3[:-30],
        bytes(3000),
        icc(b"RGB "),
        icc(b"GRAY"),
        icc(b"Lab ", rXYZ=P3),
        rgb_profile((0, 0, 0), (0, 0, 0), (0, 0, 0), gamma(1)),  # all colours are black
        rgb_profile(*P3_COLOURS, gamma(0)),
        P3.replace(b"RGB ", b"CMYK"),
    ],
)
def test_invalid_profile_is_ignored(mode, profile):
    image = Image.new("RGB", (40, 40), P3_RED).convert(mode)
    format = "JPEG" if mode == "CMYK" else "PNG"
    assert (
        open_image(encoded(image, format, icc_profile=profile)).tobytes()
        == open_image(encoded(image, format)).tobytes()
    )


@pytest.mark.parametrize(
    ("mode", "profile"), [("RGB", LINEAR_GREY), ("P", LINEAR_GREY), ("CMYK", P3), ("CMYK", LINEAR_GREY)]
)
def test_profile_for_another_mode_is_ignored(mode, profile):
    test_invalid_profile_is_ignored(mode, profile)


def test_profile_with_multi_process_elements_is_ignored():
    """400 kB of them took eleven seconds. This short profile swaps red and blue."""
    swap = struct.pack(">4s4xHH12f", b"matf", 3, 3, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0)
    program = struct.pack(">4s4xHHIII", b"mpet", 3, 3, 1, 24, len(swap)) + swap
    profile = icc(b"RGB ", D2B0=program)
    assert open_image(encoded(Image.new("RGB", (40, 40), P3_RED), icc_profile=profile)).getpixel((8, 8)) == P3_RED


def test_image_with_a_damaged_profile_is_read():
    rng = np.random.default_rng(0)
    image = two_halves(size=(32, 32))
    for profile in (P3, PRESS, LINEAR_GREY):
        mode = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}[profile[16:20]]
        data = encoded(image.convert(mode), "TIFF", icc_profile=profile)  # which contains the profile unchanged
        with Image.open(io.BytesIO(data)) as whole:
            whole.load()
        for _ in range(300):
            hurt = np.frombuffer(profile, np.uint8).copy()
            hurt[rng.integers(0, min(len(hurt), 500), 6)] = rng.integers(0, 256, 6)
            whole.info["icc_profile"] = hurt.tobytes()
            assert open_image(whole).size == (32, 32)


def test_large_profile_in_a_png_is_converted():
    """Pillow alone reads 1 MB of it."""
    profile = P3 + np.random.default_rng(0).bytes(1_500_000)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    data = encoded(Image.new("RGB", (40, 40), P3_RED), icc_profile=profile)
    assert near(open_image(data).getpixel((8, 8)), SRGB_RED, 2)


# Kinds of files


def test_cmyk_and_ycck_jpegs_are_read():
    """CMYK as Adobe writes it, inverted; and YCCK, the same as luma and chroma."""
    cyan, red = (255, 0, 0, 0), (0, 200, 220, 0)
    for ink, expected in ((cyan, (0, 255, 255)), (red, (255, 55, 35))):
        image = Image.new("CMYK", (40, 40), ink)
        data = encoded(image, "JPEG", quality=100)
        assert near(open_image(data).getpixel((8, 8)), expected, 3)
        *chroma, black = image.split()
        ycc = Image.merge("RGB", chroma).convert("YCbCr")
        stored = [channel.point(lambda value: 255 - value) for channel in ycc.split()]  # Pillow inverts what it writes
        data = encoded(Image.merge("CMYK", [*stored, black]), "JPEG", quality=100)
        at = data.index(b"Adobe") + 11
        assert data[at] == 0
        ycck = data[:at] + b"\x02" + data[at + 1 :]
        assert near(open_image(ycck).getpixel((8, 8)), expected, 4)


def test_mpo_file_of_a_phone_is_read():
    """Many phones append a second image, so that Pillow calls the file an MPO."""
    first, second = (Image.new("RGB", (60, 40), colour) for colour in (RED, BLUE))
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    for longest in (None, 20):
        assert near(open_image(data, longest).getpixel((5, 5)), RED)
    assert near(open_image(encoded(first, "JPEG", progressive=True)).getpixel((5, 5)), RED)


@pytest.mark.parametrize(("format", "brand"), [("AVIF", b"avif"), ("HEIF", b"heic")])
def test_avif_and_heic_with_the_brand_mif1_are_read(format, brand):
    data = encoded(two_halves(), format)
    assert data[4:12] == b"ftyp" + brand and brand in data[12:40]
    assert near(open_image(data[:8] + b"mif1" + data[12:]).getpixel((5, 5)), RED)


def test_10_bit_heic_is_read():
    values = np.asarray(two_halves()).astype(np.uint16) << 8
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (60, 40), values.tobytes()).save(file, quality=95)
    assert near(open_image(file.getvalue()).getpixel((5, 5)), RED)


def claiming(data, width, height):
    """Return HEIC `data` with a changed declared size."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize(
    ("hurt", "word"),
    [
        (lambda data: data[:-100], "HEIC|damaged"),
        (lambda data: claiming(data, 9000, 9000), "9000 x 9000"),
        (lambda data: claiming(data, 100_000, 100_000), "megapixels"),
        (lambda data: claiming(data, 40, 40), "damaged"),  # smaller than the image
        (lambda data: data.replace(b"hvc1", b"xxxx"), "HEIC"),  # an unknown codec
    ],
)
def test_invalid_heic_is_refused(hurt, word):
    with pytest.raises(ImageError, match=word):
        open_image(hurt(encoded(two_halves(size=(3000, 2000)), "HEIF")))


def test_heic_starts_no_thread_and_is_optional(tmp_path):
    """The fork server may have only one thread."""
    (tmp_path / "photo").write_bytes(encoded(two_halves(size=(600, 400)), "HEIF"))
    decode = PROGRAMS / "decode.py"
    photo = str(tmp_path / "photo")
    alone = {"OPENBLAS_NUM_THREADS": "1"}  # because numpy starts threads; the fork server sets it as well
    assert python(decode, photo, env=alone).stdout == "(600, 400) 1\n"
    expected = "HEIC photos are not supported here. Save or share the photo as JPEG, and try again.\n"
    assert python(decode, photo, "pillow_heif").stdout == expected
    (tmp_path / "photo").write_text("<html>")
    assert "HEIC" in python(decode, photo).stdout
    assert "HEIC" not in python(decode, photo, "pillow_heif").stdout


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode):
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    opened = open_image(encoded(image.convert(mode) if mode != "P" else image.quantize(4)))
    assert near(opened.getpixel((5, 20)), (0, 0, 0)) and near(opened.getpixel((35, 20)), (255, 255, 255))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_rotated_once(orientation, format):
    """As in EXIF. In AVIF and HEIC the decoder applies the rotation of the container, and EXIF repeats it."""
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that a camera would have to undo
    upright = two_halves()
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, format, exif=exif.tobytes(), quality=95))
    assert image.size == upright.size
    assert near(image.getpixel((5, 20)), RED) and near(image.getpixel((55, 20)), BLUE)


def test_image_with_damaged_exif_is_read():
    data = encoded(two_halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert open_image(data).size == (60, 40)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_longest_only_scales_down(format):
    data = encoded(two_halves(size=(1200, 800)), format)
    assert open_image(data, max_side=300).size == (300, 200)
    assert open_image(data, max_side=5000).size == (1200, 800)


def test_damaged_files_give_an_image_or_an_image_error():
    rng = np.random.default_rng(0)
    whole = [encoded(two_halves(size=(64, 64)), f) for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF")]
    refused = 0
    for _ in range(50):
        for data in whole:
            hurt = np.frombuffer(data, np.uint8).copy()
            hurt[rng.integers(0, len(hurt), 8)] = rng.integers(0, 256, 8)
            try:
                assert open_image(hurt.tobytes()[: rng.integers(1, len(hurt))]).mode == "RGB"
            except ImageError:
                refused += 1
    assert refused > 200
