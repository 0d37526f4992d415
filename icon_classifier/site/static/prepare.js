// An image file becomes the network's input: images.py and model/preprocessing.py, in the browser.
import { describe, profileOf, without } from "./container.js";
import { putOnWhite } from "./opaque.js";
import { conversionOf } from "./profile.js";
import { isDownFirst, resizeImage, tableFor } from "./resample.js";
import { hidesPixels } from "./upload.js";

/** The file is not a usable image. The message is a sentence for the person who chose it. */
export class ImageError extends Error {}

const MIN_SIDE = 8;
const MAX_PIXELS = 64_000_000;
const UNREADABLE = "This file could not be read. If it is a folder, choose the pictures in it.";
const UNSUPPORTED = "This is not an image in a supported format. Use JPEG, PNG, WebP, GIF, BMP or AVIF.";
const HEIC = "HEIC photos are not supported here. Save or share the photo as JPEG, and try again.";
const DAMAGED = "This image is damaged or incomplete. Try another copy of it.";
const OLD =
  "This browser is too old for this page. Update it, or open the page in a recent Chrome, Edge, Firefox or Safari.";
const HIDDEN =
  "This browser hides the pixels of pictures from web pages, so the model cannot see them. Allow this page to read " +
  "them (in Firefox, the setting privacy.resistFingerprinting hides them), or open it in another browser.";

function checkSize([width, height]) {
  if (Math.min(width, height) < MIN_SIDE) {
    throw new ImageError(
      `This image has only ${width} x ${height} pixels. Both sides need at least ${MIN_SIDE} pixels; ` +
        "choose a larger one.",
    );
  }
  if (width * height > MAX_PIXELS) {
    throw new ImageError(
      `This image has ${width} x ${height} pixels, more than the maximum of ${MAX_PIXELS / 1e6} megapixels. ` +
        "Make it smaller and try again.",
    );
  }
}

/**
 * Decode the image in a `Blob`: {bitmap, size, orientation, convert}. The `ImageBitmap` is to be turned by
 * `orientation`, as in EXIF, and has then the `size` [width, height]. `convert` (or null) is a function that changes
 * its RGBA bytes to sRGB. Throws `ImageError`.
 */
export async function openImage(blob) {
  if (hidesPixels(new OffscreenCanvas(1, 1))) throw new ImageError(HIDDEN);
  const [about, profile] = await headersOf(blob);
  if (about.size) checkSize(about.size); // before anything is decoded
  else if (!["AVIF", "HEIC"].includes(about.format)) throw new ImageError(UNSUPPORTED);
  let convert = profile && conversionOf(profile, about.space);
  // AVIF and HEIC have their colours in boxes that only the browser reads.
  const isBrowsers = convert === "browser" || !about.size;
  const hidden = isBrowsers ? about.exif : [...about.colours, ...about.exif];
  if (isBrowsers) convert = null;
  let bitmap = await decode(without(blob, hidden), isBrowsers, about.format);
  const size = [bitmap.width, bitmap.height];
  checkSize(size);
  if (about.hasAlpha) [bitmap, convert] = await putOnWhite(bitmap, convert);
  if (about.orientation > 4) size.reverse();
  return { bitmap, size, orientation: about.orientation, convert };
}

/** What the headers of the file say, and the bytes of the colour profile or null. */
async function headersOf(blob) {
  try {
    if (!blob.size && !(await blob.arrayBuffer()).byteLength) throw new ImageError("This file is empty.");
    const about = await describe(blob);
    return [about, await profileOf(blob, about)];
  } catch (error) {
    throw error instanceof DOMException ? new ImageError(UNREADABLE) : error;
  }
}

/** Decode `blob` upright, which is the default; Chrome before 112 does not know the name of it, "from-image". */
async function decode(blob, hasColours, format) {
  try {
    return await createImageBitmap(blob, {
      colorSpaceConversion: hasColours ? "default" : "none", // WebKit ignores this, so `blob` has no profile if "none"
      premultiplyAlpha: "none",
    });
  } catch (error) {
    if (error instanceof RangeError) throw error; // too little memory
    if (error instanceof TypeError) throw Object.assign(new ImageError(OLD), { cause: error }); // an unknown option
    throw new ImageError(format === "HEIC" ? HEIC : DAMAGED);
  }
}

/** The transform of a canvas that turns an image of EXIF's `orientation` upright; `size`: when it is upright. */
function transformOf({ orientation, size: [width, height] }) {
  return {
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, width, 0],
    7: [0, -1, -1, 0, width, height],
    8: [0, -1, 1, 0, 0, height],
  }[orientation] ?? [1, 0, 0, 1, 0, 0];
}

/** Draw what `openImage` returned upright and on white, moved by [x, y] and enlarged by the factors [sx, sy]. */
export function paint(context, image, [x, y] = [0, 0], [sx, sy] = [1, 1]) {
  context.resetTransform();
  context.fillStyle = "#fff";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(sx, 0, 0, sy, x, y);
  context.transform(...transformOf(image));
  context.drawImage(image.bitmap, 0, 0);
}

/** A function that returns a part of what `openImage` returned as RGBA bytes in sRGB, on white. */
export function reader(image) {
  let context = null;
  return (x, y, width, height) => {
    if (context?.canvas.width !== width || context.canvas.height !== height) {
      context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      context.imageSmoothingEnabled = false; // it is not scaled, only turned
    }
    paint(context, image, [-x, -y]);
    const { data } = context.getImageData(0, 0, width, height);
    image.convert?.(data);
    return data;
  };
}

function extraOf({ size, val_xtra }) {
  return Math.ceil((Math.max(...size) * val_xtra) / 8) * 8;
}

/** The box [left, top, right, bottom] of an image that is visible to the network; see preprocessing.visible_box. */
export function visibleBox([width, height], preprocessing) {
  const [w, h] = preprocessing.size;
  if (preprocessing.resize === "squish") return [0, 0, width, height];
  if (preprocessing.resize === "RandomResizedCrop") {
    const extra = extraOf(preprocessing);
    const half = Math.floor(extra / 2);
    const at = (place, n, length) => (place / (n + extra)) * length;
    return [at(half, w, width), at(half, h, height), at(half + w, w, width), at(half + h, h, height)];
  }
  const scales = [width / w, height / h];
  const scale = preprocessing.resize === "pad" ? Math.max(...scales) : Math.min(...scales);
  const [boxWidth, boxHeight] = [Math.trunc(scale * w), Math.trunc(scale * h)];
  const [left, top] = [Math.trunc(0.5 * (width - boxWidth)), Math.trunc(0.5 * (height - boxHeight))];
  return [left, top, left + boxWidth, top + boxHeight];
}

/** Resize as preprocessing._resize: the network's input as RGB bytes. `read`: see `resizeImage`. */
export function resize(read, [width, height], preprocessing) {
  const { size, resample, pad_mode: padMode } = preprocessing;
  let [left, top, right, bottom] = [0, 0, width, height];
  let [whole, skip] = [size, 0]; // in validation fastai resizes to a slightly larger size and crops the centre
  if (preprocessing.resize === "RandomResizedCrop") {
    const extra = extraOf(preprocessing);
    whole = size.map((n) => n + extra);
    skip = Math.floor(extra / 2);
  } else {
    [left, top, right, bottom] = visibleBox([width, height], preprocessing);
  }
  const common = { resample, padMode };
  const keep = size.map((n) => [skip, skip + n]);
  const columns = tableFor({ ...common, from: left, to: right, length: width, size: whole[0], keep: keep[0] });
  const rows = tableFor({ ...common, from: top, to: bottom, length: height, size: whole[1], keep: keep[1] });
  return resizeImage(read, columns, rows, isDownFirst([right - left, bottom - top], whole));
}

/** The network's input, a Float32Array (3, height, width), for its RGB bytes; rounded to float32 as numpy does. */
export function normalize(rgb, { div, mean, std }) {
  const pixels = rgb.length / 3;
  const out = new Float32Array(rgb.length);
  for (let channel = 0; channel < 3; channel++) {
    const levels = Float32Array.from({ length: 256 }, (_, value) => value / Math.fround(div));
    if (mean) {
      levels.forEach((level, i) => {
        levels[i] = Math.fround(level - Math.fround(mean[channel])) / Math.fround(std[channel]);
      });
    }
    for (let i = 0; i < pixels; i++) out[channel * pixels + i] = levels[rgb[i * 3 + channel]];
  }
  return out;
}
