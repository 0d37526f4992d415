"""Ground floor: any bytes become one upright RGB picture, or a refusal in words."""

import io
import os
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

# Decoders that are safe to show to strangers' bytes. All of Pillow's would include EPS, which runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
MIN_SIDE = 8  # px; below this there is nothing to recognise
MAX_PIXELS = 64_000_000  # a decoded picture takes 3-4 bytes a pixel; phones reach 50 megapixels

_READABLE = "JPEG, PNG, WebP, GIF, BMP and AVIF pictures work"


class PictureError(ValueError):
    """These bytes are no usable picture; the message is a sentence for the person who offered them."""


def open_picture(source, longest=None, most=MAX_PIXELS):
    """Decode `source` completely and return it as an upright 8-bit RGB `PIL.Image.Image`.

    `source`: bytes (also bytearray or memoryview), a path, or a `PIL.Image.Image`.
    `longest`: scale down, never up, so that neither side exceeds this many pixels.
    `most`: refuse a picture of more pixels. While one is opened it takes 4 to 8 bytes a pixel, seldom more.

    Animations give their first frame, transparency lies on white, 16 bits a channel are scaled to 8, and the
    camera's EXIF rotation is applied. Raises `PictureError` for anything else, and OSError for a path that
    cannot be read.
    """
    if isinstance(source, Image.Image):
        _check_size(source, most)
        return _normalise(source.copy(), longest)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _decode(file, longest, most)
    return _decode(io.BytesIO(source), longest, most)


def _decode(file, longest, most):
    head = file.read(16)
    file.seek(0)
    if not head:
        raise PictureError("This file is empty.")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        raise PictureError("This is a HEIC photo, which I cannot read. Save or share it as JPEG and try again.")
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its own limit; ours is below both.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                _check_size(image, most)  # only the header has been read so far
                if longest:
                    image.draft("RGB", (longest, longest))  # JPEG: decode at 1/2, 1/4 or 1/8 of the size
                image.load()  # verify() would let a truncated JPEG pass
                return _normalise(image, longest)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"This is not a picture that I can read: {_READABLE}.") from None
    except Image.DecompressionBombError:
        raise PictureError(_too_large("This picture has", most)) from None
    except Exception:
        # Decoders meet hostile bytes with whatever comes up: OSError, ValueError, SyntaxError, struct.error,
        # NotImplementedError ... To the person who offered the file they all mean the same.
        raise PictureError("This picture is damaged or incomplete: it could not be read to its end.") from None


def _check_size(image, most):
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"This picture is only {width} x {height} pixels; I need at least {MIN_SIDE} each way.")
    if width * height > most:
        raise PictureError(_too_large(f"This picture is {width} x {height} pixels:", most))


def _too_large(what, most):
    return f"{what} more than the {most // 1_000_000} megapixels that I open. Make it smaller and try again."


def _normalise(image, longest):
    """`image` as `open_picture` returns it; changes it, for a copy of a large one is large."""
    if longest:
        image.thumbnail((longest, longest))
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF raises anything, SyntaxError included; the pixels are still good
        pass
    if image.mode.startswith(("I", "F")):  # 16 bits a pixel; convert("L") alone would clip them to white
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA") if image.mode != "RGBA" else image
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB") if image.mode != "RGB" else image
