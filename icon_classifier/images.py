"""Decode any bytes to one upright 8-bit sRGB image, or raise `ImageError` with a sentence for the user."""

import io
import os
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from .errors import IconClassifierError

try:
    import pillow_heif
except ImportError:  # there is no wheel for this machine
    pillow_heif = None

# Decoders that are safe to show to strangers' bytes. All of Pillow's would include EPS, which runs Ghostscript, and
# TIFF, whose many compressions are a large attack surface for files that neither phones nor browsers give.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # "JPEG" includes MPO, a phone's JPEG with a second picture
MIN_SIDE = 8  # px; below this there is nothing to recognise
MAX_PIXELS = 64_000_000  # a decoded picture takes 3-4 bytes a pixel; phones reach 50 megapixels
STRIP_PIXELS = 1 << 17  # so many are converted at a time, because a second copy of a large picture is large
SAME = 2  # of 255; a profile that changes no colour by more is taken as sRGB

PngImagePlugin.MAX_TEXT_CHUNK = 8 << 20  # Pillow refuses a PNG with a larger profile or XMP; its 1 MB is too little

if pillow_heif:  # iPhones' photos. One thread, because visitors share the processor, and only the picture itself
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    FORMATS += ("HEIF",)

_READABLE = f"JPEG, PNG, WebP, GIF, BMP{', AVIF and HEIC' if pillow_heif else ' and AVIF'} pictures work"
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # brands; ISO/IEC 23008-12
_SCALABLE = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels can be averaged
_SRGB = ImageCms.createProfile("sRGB")
_COLOURS = Image.fromarray(np.uint8(17 * np.indices((16, 16, 16)).reshape(3, 64, 64).transpose(1, 2, 0)))
# How Pillow calls the modes of ICC's colour spaces, and what is white and black there.
_SPACES = {
    "RGB": ("RGB", (255, 255, 255), (0, 0, 0)),
    "GRAY": ("L", 255, 0),
    "CMYK": ("CMYK", (0, 0, 0, 0), (255, 255, 255, 255)),
}


class ImageError(IconClassifierError, ValueError):
    """These bytes are no usable picture; the message is a sentence for the person who offered them."""


def open_image(source, longest=None, most=MAX_PIXELS):
    """Decode `source` completely and return it as an upright 8-bit sRGB `PIL.Image.Image` of mode RGB.

    `source`: bytes (also bytearray or memoryview), a path, or a `PIL.Image.Image`.
    `longest`: scale down, never up, so that neither side exceeds this many pixels.
    `most`: refuse a picture of more pixels. While one is opened it takes 4 to 8 bytes a pixel, seldom more.

    Animations give their first frame, transparency lies on white, 16 bits a channel are scaled to 8, an ICC profile
    is converted to sRGB, and the camera's EXIF rotation is applied; the result's `info` is empty. Raises
    `ImageError` for anything else, and OSError for a path that cannot be read.
    """
    if isinstance(source, Image.Image):
        return _decode(source, longest, most)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _decode(file, longest, most)
    return _decode(io.BytesIO(source), longest, most)


def _decode(source, longest, most):
    """`source`: a file or an image."""
    brands = set() if isinstance(source, Image.Image) else _brands(source)
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its own limit; ours is below both.
            warnings.simplefilter("ignore")
            if isinstance(source, Image.Image):
                _check_size(source, most)
                key = _transparent_colour(source)  # before the pixels are read, see there
                return _normalise(source.copy(), key, longest)
            with Image.open(source, formats=FORMATS) as image:
                _check_size(image, most)  # only the header has been read so far
                if longest:
                    image.draft("RGB", (longest, longest))  # JPEG: decode at 1/2, 1/4 or 1/8 of the size
                key = _transparent_colour(image)
                image.load()  # verify() would let a truncated JPEG pass
                return _normalise(image, key, longest)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if brands & _HEIC:
            said = "This is a HEIC photo, which I cannot read. Save or share it as JPEG and try again."
        else:
            said = f"This is not a picture that I can read: {_READABLE}."
        raise ImageError(said) from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large("This picture has", most)) from None
    except Exception:
        # Decoders meet hostile bytes with whatever comes up: OSError, ValueError, SyntaxError, struct.error,
        # NotImplementedError ... To the person who offered the file they all mean the same.
        raise ImageError("This picture is damaged or incomplete: it could not be read to its end.") from None


def _brands(file):
    """What a file of AVIF's and HEIC's container says that it holds, as a set of four bytes each; empty for others.

    The major brand alone does not tell: both may begin with `mif1`.
    """
    head = file.read(256)
    file.seek(0)
    if not head:
        raise ImageError("This file is empty.")
    if head[4:8] != b"ftyp":
        return set()
    brands = head[8 : int.from_bytes(head[:4])]
    return {brands[at : at + 4] for at in range(0, len(brands), 4)}


def _check_size(image, most):
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"This picture is only {width} x {height} pixels; I need at least {MIN_SIDE} each way.")
    if width * height > most:
        raise ImageError(_too_large(f"This picture is {width} x {height} pixels:", most))


def _too_large(what, most):
    return f"{what} more than the {most // 1_000_000} megapixels that I open. Make it smaller and try again."


def _transparent_colour(image):
    """What `image.info["transparency"]` should be; None where there is none. To be asked before the pixels are read.

    PNG's tRNS gives a colour in the file's bits a channel, and so does Pillow, which scales the pixels to 8 bits. What
    the file's bits are it forgets with the reading.
    """
    key, tile = image.info.get("transparency"), getattr(image, "tile", None)
    bits = tile[0].args if tile and image.format == "PNG" else ""
    if image.mode == "L" and isinstance(key, int):
        return key * {"L;2": 85, "L;4": 17}.get(bits, 1)
    if image.mode == "RGB" and isinstance(key, tuple) and (bits == "RGB;16B" or max(key) > 255):
        return tuple(value >> 8 for value in key)
    return key


def _normalise(image, key, longest):
    """`image` as `open_image` returns it; changes it, because a copy of a large one is large.

    `key`: of `_transparent_colour`.
    """
    if key is not None:
        image.info["transparency"] = key
    scalable = image.mode in _SCALABLE and key is None
    if longest and scalable:
        image.thumbnail((longest, longest))
    with suppress(Exception):  # damaged EXIF raises anything, SyntaxError included; the pixels are still good
        ImageOps.exif_transpose(image, in_place=True)
    image = _to_srgb(image)
    if longest and not scalable:
        image.thumbnail((longest, longest))
    image.info = {}  # a profile that stayed would be applied a second time, by whoever opens what is saved
    return image


def _to_srgb(image):
    """`image`, of any mode, as one of mode RGB: its profile converted to sRGB, on white."""
    colours = _transform(image)
    if not image.has_transparency_data and image.mode == "RGB":
        if colours:
            ImageCms.applyTransform(image, colours, inPlace=True)
        return image
    brightest = 65535 if image.mode[:2] == "I;" or (image.mode in "IF" and image.getextrema()[1] > 255) else 255
    flat = Image.new("RGB", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        flat.paste(_flat(strip, colours, brightest), (0, top))
    return flat


def _flat(image, colours, brightest):
    """`image` in sRGB on white, as mode RGB. `colours`: of `_transform`; `brightest`: of a mode of more than 8 bits."""
    if image.mode[0] in "IF":  # convert("L") would clip them to white
        values = np.asarray(image)
        grey = np.nan_to_num(values).clip(0, brightest) / brightest * 255
        key = image.info.get("transparency")
        alpha = np.where(values == key, 0, 255) if key is not None else np.full(values.shape, 255)
        image = Image.fromarray(np.uint8(np.stack([grey.round(), alpha], -1)))
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "1", "La", "LA") else "RGBA")
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if colours:
        image = image.convert(colours.input_mode) if image.mode != colours.input_mode else image
        image = ImageCms.applyTransform(image, colours)
    else:
        image = image.convert("RGB")
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def _transform(image):
    """LittleCMS's transform from the profile of `image` to sRGB; None where there is nothing to convert.

    A profile is a stranger's too. One that is damaged, is not for pictures of this kind, or takes white for something
    else than white counts as none, as in browsers. Pictures without a profile count as sRGB: PNG's gAMA and cHRM (most
    come from ImageMagick, which writes sRGB's) change next to nothing; its cICP and the primaries in AVIF's and HEIC's
    nclx Pillow does not give, and cameras write profiles.
    """
    data = image.info.get("icc_profile")
    if not data or b"mpet" in data:  # a program of any length, of which a stranger could make one that takes minutes
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode, white, black = _SPACES[profile.profile.xcolor_space.strip()]
        fits = {"L": image.mode[0] in "1LIF", "CMYK": image.mode == "CMYK", "RGB": image.mode != "CMYK"}[mode]
        if not fits:
            return None
        transform = ImageCms.buildTransform(profile, _SRGB, mode, "RGB")
        ends = [ImageCms.applyTransform(Image.new(mode, (1, 1), end), transform) for end in (white, black)]
        if min(ends[0].getpixel((0, 0))) < 200 or max(ends[1].getpixel((0, 0))) > 100:
            return None
        # Most profiles are sRGB's, by many names and in many forms. What it does to colours is what tells.
        if mode == "RGB":
            changed = ImageChops.difference(_COLOURS, ImageCms.applyTransform(_COLOURS, transform))
            if max(most for _, most in changed.getextrema()) <= SAME:
                return None
    except Exception:  # of LittleCMS
        return None
    return transform
