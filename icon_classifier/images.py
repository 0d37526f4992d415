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
except ImportError:  # no wheel for this platform
    pillow_heif = None

# Decoders that are safe for untrusted bytes. All of Pillow's would include EPS, which runs Ghostscript, and TIFF, whose
# many compression schemes are a large attack surface for a format that neither phones nor browsers produce.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # "JPEG" includes MPO, a phone's JPEG with a second image
MIN_SIDE = 8  # px; a smaller image shows nothing recognizable
MAX_PIXELS = 64_000_000  # a decoded image takes 3-4 bytes per pixel; phones reach 50 megapixels
STRIP_PIXELS = 1 << 17  # pixels converted at a time, because a second copy of a large image needs much memory
MAX_SRGB_DIFFERENCE = 2  # of 255; a profile that changes every colour by at most this counts as sRGB

PngImagePlugin.MAX_TEXT_CHUNK = 8 << 20  # Pillow rejects a PNG with a larger profile or XMP; its default is 1 MB

if pillow_heif:  # photos of iPhones. One thread, because visitors share the processor; no secondary images
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    FORMATS += ("HEIF",)

_SUPPORTED = f"JPEG, PNG, WebP, GIF, BMP{', AVIF or HEIC' if pillow_heif else ' or AVIF'}"
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # brands; ISO/IEC 23008-12
_SCALABLE = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels can be averaged
_SRGB = ImageCms.createProfile("sRGB")
_COLOURS = Image.fromarray(np.uint8(17 * np.indices((16, 16, 16)).reshape(3, 64, 64).transpose(1, 2, 0)))
# ICC colour space -> (Pillow's mode, white, black)
_SPACES = {
    "RGB": ("RGB", (255, 255, 255), (0, 0, 0)),
    "GRAY": ("L", 255, 0),
    "CMYK": ("CMYK", (0, 0, 0, 0), (255, 255, 255, 255)),
}


class ImageError(IconClassifierError, ValueError):
    """The bytes are not a usable image. The message is a sentence for the person who provided them."""


def open_image(source, max_side=None, max_pixels=MAX_PIXELS):
    """Decode `source` completely and return it as an upright 8-bit sRGB `PIL.Image.Image` of mode RGB.

    source: bytes (also bytearray or memoryview), a path, or a `PIL.Image.Image`.
    max_side: the maximum of the longer side in px. Larger images are scaled down; smaller ones are not scaled up.
    max_pixels: the maximum number of pixels. Decoding takes 4 to 8 bytes per pixel, seldom more.

    The result is the first frame of an animation. Transparent areas become white, 16 bits per channel are scaled to 8,
    the ICC profile is converted to sRGB, and the EXIF rotation is applied. The result's `info` is empty.
    Raises `ImageError` if the source is not a usable image, and OSError if the path cannot be read.
    """
    if isinstance(source, Image.Image):
        return _decode(source, max_side, max_pixels)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _decode(file, max_side, max_pixels)
    return _decode(io.BytesIO(source), max_side, max_pixels)


def _decode(source, max_side, max_pixels):
    """Decode a binary file or an image; see `open_image`."""
    brands = set() if isinstance(source, Image.Image) else _brands(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns about images of one to two times its own limit; `max_pixels` is below both.
            warnings.simplefilter("ignore")
            if isinstance(source, Image.Image):
                _check_size(source, max_pixels)
                key = _transparent_colour(source)
                return _normalise(source.copy(), key, max_side)
            with Image.open(source, formats=FORMATS) as image:
                _check_size(image, max_pixels)  # only the header has been read so far
                if max_side:
                    image.draft("RGB", (max_side, max_side))  # JPEG: decode at 1/2, 1/4 or 1/8 of the size
                key = _transparent_colour(image)
                image.load()  # verify() does not notice a truncated JPEG
                return _normalise(image, key, max_side)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if brands & _HEIC:
            message = "HEIC photos are not supported here. Save or share the photo as JPEG, and try again."
        else:
            message = f"This is not an image in a supported format. Use {_SUPPORTED}."
        raise ImageError(message) from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large("This image has", max_pixels)) from None
    except Exception:
        # Decoders raise many types for damaged bytes: OSError, ValueError, SyntaxError, struct.error,
        # NotImplementedError ... They all mean the same to the person who provided the file.
        raise ImageError("This image is damaged or incomplete. Try another copy of it.") from None


def _brands(file):
    """Return the brands (four bytes each) of a file in the container format of AVIF and HEIC; an empty set for others.

    The major brand does not suffice, because AVIF and HEIC files may both begin with `mif1`.
    """
    head = file.read(256)
    file.seek(0)
    if not head:
        raise ImageError("This file is empty.")
    if head[4:8] != b"ftyp":
        return set()
    brands = head[8 : int.from_bytes(head[:4])]
    return {brands[at : at + 4] for at in range(0, len(brands), 4)}


def _check_size(image, max_pixels):
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"This image has only {width} x {height} pixels. Both sides need at least {MIN_SIDE} pixels; choose a "
            "larger one."
        )
    if width * height > max_pixels:
        raise ImageError(_too_large(f"This image has {width} x {height} pixels,", max_pixels))


def _too_large(what, max_pixels):
    return f"{what} more than the maximum of {max_pixels // 1_000_000} megapixels. Make it smaller and try again."


def _transparent_colour(image):
    """Return the correct value of `image.info["transparency"]`, or None. Call this before the pixels are decoded.

    PNG's tRNS chunk holds a colour in the file's bits per channel. Pillow scales the pixels to 8 bits, but not this
    colour, and after decoding it no longer knows the file's bits per channel.
    """
    key = image.info.get("transparency")
    tile = getattr(image, "tile", None)
    bits = tile[0].args if tile and image.format == "PNG" else ""
    if image.mode == "L" and isinstance(key, int):
        return key * {"L;2": 85, "L;4": 17}.get(bits, 1)
    if image.mode == "RGB" and isinstance(key, tuple) and (bits == "RGB;16B" or max(key) > 255):
        return tuple(value >> 8 for value in key)
    return key


def _normalise(image, key, max_side):
    """Return the image that `open_image` returns. Changes `image` itself, because a copy needs much memory.

    key: what `_transparent_colour` returned.
    """
    if key is not None:
        image.info["transparency"] = key
    scalable = image.mode in _SCALABLE and key is None
    if max_side and scalable:
        image.thumbnail((max_side, max_side))
    with suppress(Exception):  # damaged EXIF can raise anything, even SyntaxError; the pixels are still usable
        ImageOps.exif_transpose(image, in_place=True)
    image = _to_srgb(image)
    if max_side and not scalable:
        image.thumbnail((max_side, max_side))
    image.info = {}  # a profile that is saved with the image would be applied a second time
    return image


def _to_srgb(image):
    """Return `image`, of any mode, as RGB on white, with its profile converted to sRGB."""
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
    """Return `image` as sRGB on white, in mode RGB.

    colours: what `_transform` returned. brightest: the value of white in a mode of more than 8 bits.
    """
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


def _fits(mode, space):
    """Return whether an image of Pillow's `mode` can have a profile for the colour space `space` (a mode as well)."""
    if space == "L":
        return mode[0] in "1LIF"
    return (mode == "CMYK") == (space == "CMYK")


def _transform(image):
    """Return the LittleCMS transform from the profile of `image` to sRGB, or None if there is nothing to convert.

    Profiles are untrusted as well. As in browsers, a profile is ignored if it is damaged, if it does not fit the mode
    of the image, or if it does not map white to white. An image without a profile counts as sRGB: PNG's gAMA and cHRM
    rarely differ from sRGB (most come from ImageMagick, which writes those of sRGB), and Pillow does not expose PNG's
    cICP or the nclx colours of AVIF and HEIC.
    """
    data = image.info.get("icc_profile")
    if not data or b"mpet" in data:  # a chain of operations of any length; a malicious one could take minutes
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode, white, black = _SPACES[profile.profile.xcolor_space.strip()]
        if not _fits(image.mode, mode):
            return None
        transform = ImageCms.buildTransform(profile, _SRGB, mode, "RGB")
        ends = [ImageCms.applyTransform(Image.new(mode, (1, 1), end), transform) for end in (white, black)]
        if min(ends[0].getpixel((0, 0))) < 200 or max(ends[1].getpixel((0, 0))) > 100:
            return None
        # Most profiles are sRGB under many names and in many forms. Only their effect on colours identifies them.
        if mode == "RGB":
            changed = ImageChops.difference(_COLOURS, ImageCms.applyTransform(_COLOURS, transform))
            if max(most for _, most in changed.getextrema()) <= MAX_SRGB_DIFFERENCE:
                return None
    except Exception:  # LittleCMS rejects the profile
        return None
    return transform
