"""pictures.py: every kind of file that visitors and search engines have offered."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import python
from PIL import Image

from icon_classifier.pictures import MAX_PIXELS, PictureError, open_picture
from icon_classifier.serving.memory import WORK

RED, BLUE = (254, 0, 0), (0, 0, 254)


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def two_halves(mode="RGB", size=(60, 40)):
    """Red on the left, blue on the right: shows whether a picture has been turned."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def near(pixel, colour, by=12):
    return all(abs(a - b) <= by for a, b in zip(pixel, colour, strict=True))


def png_claiming(width, height):
    """A few bytes of PNG whose header announces that many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "LA", "RGBA"])
def test_what_can_be_written_is_read(format, mode):
    try:
        data = encoded(two_halves(mode), format)
    except (OSError, ValueError):
        data = encoded(two_halves(mode).convert("RGB"), format)  # a mode that this format does not have
    picture = open_picture(data)
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    left, right = np.hsplit(np.asarray(picture, float), 2)
    assert np.abs(left.mean((0, 1)) - right.mean((0, 1))).max() > 20


def test_bytes_path_and_image_give_the_same(tmp_path):
    data = encoded(two_halves())
    (tmp_path / "a.png").write_bytes(data)
    pictures = [
        open_picture(s) for s in (data, memoryview(data), tmp_path / "a.png", str(tmp_path / "a.png"), two_halves())
    ]
    assert len({p.tobytes() for p in pictures}) == 1


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<html><body>404 Not Found</body></html>", "not a picture"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"/>', "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (encoded(two_halves(), "TIFF"), "not a picture"),
        (encoded(two_halves(), "ICO"), "not a picture"),
        (encoded(two_halves(size=(600, 400)), "JPEG")[:-400], "incomplete"),
        (encoded(two_halves(size=(600, 400)))[:-60], "incomplete"),
        (encoded(Image.new("RGB", (1, 1))), "1 x 1"),
        (encoded(Image.new("RGB", (1, 4000))), "1 x 4000"),
        (png_claiming(10_000, 10_000), "megapixels"),
        (png_claiming(40_000, 40_000), "megapixels"),
    ],
)
def test_refusals_are_sentences(data, word):
    with pytest.raises(PictureError) as refusal:
        open_picture(data)
    assert word in str(refusal.value) and str(refusal.value).endswith(".")
    assert refusal.value.__cause__ is None


def test_a_bomb_is_refused_before_it_is_decoded():
    data = encoded(Image.new("1", (10_000, 10_000)))
    assert len(data) < 20_000 and 10_000 * 10_000 > MAX_PIXELS
    with pytest.raises(PictureError, match="10000 x 10000"):
        open_picture(data)


def test_fewer_pixels_can_be_demanded():
    data = encoded(Image.new("RGB", (5000, 3000)))
    assert open_picture(data).size == (5000, 3000)
    with pytest.raises(PictureError, match="5000 x 3000 pixels: more than the 12 megapixels that I open"):
        open_picture(data, most=12_500_000)


@pytest.mark.parametrize("longest", [None, 320])
@pytest.mark.parametrize(("mode", "format"), [("RGB", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG")])
def test_a_photo_of_twelve_megapixels_takes_the_memory_that_the_page_keeps_for_one(tmp_path, mode, format, longest):
    Image.new(mode, (4032, 3024), RED).save(tmp_path / "photo", format, progressive=True)
    code = """import re, sys; from icon_classifier.pictures import open_picture; from pathlib import Path
here, photo = Path("/proc/self"), Path(sys.argv[1]).read_bytes()
most = lambda what: int(re.search(what + r":\\s+(\\d+)", (here / "status").read_text())[1]) / 1024
open_picture(Path(sys.argv[2]).read_bytes()); (here / "clear_refs").write_text("5"); before = most("VmRSS")
open_picture(photo, longest=eval(sys.argv[3])); print(most("VmHWM") - before)"""
    (tmp_path / "small").write_bytes(encoded(Image.new(mode, (40, 40)), format))
    took = float(python("-c", code, str(tmp_path / "photo"), str(tmp_path / "small"), str(longest)).stdout)
    assert 10 < took < WORK


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    assert near(open_picture(data).getpixel((20, 20)), RED)


def test_16_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    values = np.asarray(open_picture(encoded(Image.fromarray(ramp))))[..., 0]
    assert values.min() == 0 and values.max() == 255
    assert np.abs(values - ramp / 257).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode):
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    picture = open_picture(encoded(image.convert(mode) if mode != "P" else image.quantize(4)))
    assert near(picture.getpixel((5, 20)), (0, 0, 0)) and near(picture.getpixel((35, 20)), (255, 255, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that a camera would have to undo
    upright = two_halves()
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(stored, "JPEG", exif=exif, quality=95))
    assert picture.size == upright.size
    assert near(picture.getpixel((5, 20)), RED) and near(picture.getpixel((55, 20)), BLUE)


def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(two_halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert open_picture(data).size == (60, 40)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_longest_scales_down_and_never_up(format):
    data = encoded(two_halves(size=(1200, 800)), format)
    assert open_picture(data, longest=300).size == (300, 200)
    assert open_picture(data, longest=5000).size == (1200, 800)


def test_any_damage_ends_in_a_picture_or_a_sentence():
    rng = np.random.default_rng(0)
    whole = [encoded(two_halves(size=(64, 64)), f) for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")]
    refused = 0
    for _ in range(50):
        for data in whole:
            hurt = np.frombuffer(data, np.uint8).copy()
            hurt[rng.integers(0, len(hurt), 8)] = rng.integers(0, 256, 8)
            try:
                assert open_picture(hurt.tobytes()[: rng.integers(1, len(hurt))]).mode == "RGB"
            except PictureError:
                refused += 1
    assert refused > 200
