// Transparent images on white, as images.py puts them there: each colour is converted to sRGB first, and rounded once.

const STRIP_PIXELS = 1 << 20; // at a time
const BYTES = Array.from({ length: 256 }, (_, value) => value);

const blend = (value, alpha) => Math.round((value * alpha + 255 * (255 - alpha)) / 255);

/** Put RGBA bytes on white, in place. */
function flatten(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    if (alpha === 255) continue;
    for (let c = i; c < i + 3; c++) pixels[c] = blend(pixels[c], alpha);
    pixels[i + 3] = 255;
  }
}

let exact; // a promise whether a canvas rounds once, as Chromium's does and Firefox's does not

async function isExact() {
  const pixels = new ImageData(Uint8ClampedArray.from(BYTES.flatMap((value) => [value, 90, 200, 255 - value])), 256, 1);
  const bitmap = await createImageBitmap(pixels, { premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(256, 1).getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, 256, 1);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  flatten(pixels.data);
  const drawn = context.getImageData(0, 0, 256, 1).data;
  return drawn.every((value, i) => value === pixels.data[i]);
}

/**
 * Put an ImageBitmap that may be transparent on white. `convert`, or null: what changes its RGBA bytes to sRGB. Returns
 * an ImageBitmap and what is still to convert: of a browser that does not give the bytes, both are the same as before.
 */
export async function putOnWhite(bitmap, convert) {
  if (!convert && (await (exact ??= isExact()))) return [bitmap, null];
  try {
    const opaque = await opaqueOf(bitmap, convert);
    bitmap.close();
    return [opaque, null];
  } catch (error) {
    if (error instanceof RangeError) throw error; // too little memory
    return [bitmap, convert];
  }
}

async function opaqueOf(bitmap, convert) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const frame = new VideoFrame(bitmap, { timestamp: 0 }); // a canvas would multiply the colours by the opacity
  try {
    const rows = Math.max(1, Math.floor(STRIP_PIXELS / width));
    for (let y = 0; y < height; y += rows) {
      const part = { x: 0, y, width, height: Math.min(rows, height - y) };
      const pixels = new ImageData(width, part.height);
      let isKnown = false; // Safari, and Chrome before 127, ignore `format` and give other channels
      const options = {
        rect: part,
        get format() {
          isKnown = true;
          return "RGBA";
        },
      };
      await frame.copyTo(pixels.data, options);
      if (!isKnown) throw new Error("copyTo does not convert");
      convert?.(pixels.data);
      flatten(pixels.data);
      context.putImageData(pixels, 0, y);
    }
  } finally {
    frame.close();
  }
  return canvas.transferToImageBitmap();
}
