// What the headers of an image file say, before anything is decoded: format, size, colour profile, orientation.

const WINDOW = 1 << 18; // bytes that are read at a time

/** The bytes of a Blob, of which only a few are in memory, because metadata and films can be of any length. */
class Bytes {
  #view = new DataView(new ArrayBuffer(0));
  #begin = 0;

  constructor(blob) {
    this.blob = blob;
  }

  /** Return a DataView of the bytes from `at` on, at least `length`. Throws RangeError where the file ends. */
  async from(at, length) {
    if (at < this.#begin || at + length > this.#begin + this.#view.byteLength) {
      if (at + length > this.blob.size) throw new RangeError("the file ends");
      this.#view = new DataView(await this.blob.slice(at, at + Math.max(length, WINDOW)).arrayBuffer());
      this.#begin = at;
    }
    return new DataView(this.#view.buffer, at - this.#begin);
  }

  /** Return the place of the first byte from `at` on for which `isWanted` is true. */
  async find(at, isWanted) {
    for (;;) {
      const view = await this.from(at, 1);
      const found = new Uint8Array(view.buffer, view.byteOffset).findIndex(isWanted);
      if (found >= 0) return at + found;
      at += view.byteLength;
    }
  }
}

const text = (view, at, length) => String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));

/**
 * What the file in a Blob is: {format, size, hasAlpha, space, profile, colours, orientation, exif}. `format` is one of
 * images.py's, "HEIC", or null for others. `size` [width, height], before the image is turned, is null where the
 * headers do not tell. `hasAlpha` tells whether some of its pixels may be half transparent. `space` is that of its
 * colours, as in ICC profiles. `profile` are the pieces of the profile, each [begin, end]. `colours` are all pieces
 * that describe colours, which browsers may apply though images.py does not, each [begin, end, what to put there].
 * `orientation` is that of EXIF (1 to 8) where not all browsers apply it, and `exif` the pieces that tell it.
 */
export async function describe(blob) {
  const bytes = new Bytes(blob);
  const found = { format: null, size: null, hasAlpha: false, space: "RGB ", profile: [], colours: [] };
  Object.assign(found, { orientation: 1, exif: [] });
  try {
    const view = await bytes.from(0, 12);
    if (view.getUint16(0) === 0xffd8) await readJpeg(bytes, found);
    else if (text(view, 1, 7) === "PNG\r\n\x1a\n") await readPng(bytes, found);
    else if (/^GIF8[79]a/.test(text(view, 0, 6))) {
      found.format = "GIF";
      found.size = [view.getUint16(6, true), view.getUint16(8, true)];
    } else if (text(view, 0, 2) === "BM") readBmp(view, found);
    else if (text(view, 0, 4) === "RIFF" && text(view, 8, 4) === "WEBP") await readWebp(bytes, found);
    else if (text(view, 4, 4) === "ftyp") readBrands(view, found);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file ends
  }
  return found;
}

const MAX_PROFILE_BYTES = 8 << 20; // as in images.py; a few bytes of a PNG can unpack to gigabytes

/** The bytes of the ICC profile that `describe` found in a file, or null. */
export async function profileOf(blob, { format, profile }) {
  const packed = new Blob(profile.map(([begin, end]) => blob.slice(begin, end)));
  if (!packed.size || packed.size > MAX_PROFILE_BYTES) return null;
  if (format !== "PNG") return new Uint8Array(await packed.arrayBuffer());
  const chunks = [];
  let length = 0;
  try {
    const reader = packed.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      chunks.push(part.value);
      length += part.value.length;
      if (length > MAX_PROFILE_BYTES) return null;
    }
  } catch {
    return null; // damaged
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** `blob` with other bytes in place of `pieces`, each [begin, end, what to put there]. */
export function without(blob, pieces) {
  let at = 0;
  const sorted = [...pieces].sort(([a], [b]) => a - b);
  const parts = sorted.flatMap(([begin, end, instead]) => {
    const before = blob.slice(at, begin);
    at = end;
    return [before, instead];
  });
  return pieces.length ? new Blob([...parts, blob.slice(at)], { type: blob.type }) : blob;
}

async function readJpeg(bytes, found) {
  found.format = "JPEG";
  for (let at = 2; ; ) {
    at = await bytes.find(at, (byte) => byte === 0xff);
    at = await bytes.find(at, (byte) => byte !== 0xff);
    const marker = (await bytes.from(at++, 1)).getUint8(0);
    if (marker === 0xda || marker === 0xd9) return; // the pixels begin
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) continue; // these have no content
    const length = (await bytes.from(at, 2)).getUint16(0);
    const view = await bytes.from(at, Math.min(length, 14));
    const end = at + length;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      found.size = [view.getUint16(5), view.getUint16(3)];
      found.space = { 1: "GRAY", 4: "CMYK" }[view.getUint8(7)] ?? "RGB ";
    } else if (marker === 0xe2 && length >= 16 && text(view, 2, 12) === "ICC_PROFILE\0") {
      found.profile.push([at + 16, end]);
      found.colours.push([at - 2, end, ""]);
    }
    at = end;
  }
}

const MAX_PNG_NAME = 79; // bytes, of a profile

async function readPng(bytes, found) {
  found.format = "PNG";
  const head = await bytes.from(0, 26);
  found.size = [head.getUint32(16), head.getUint32(20)];
  const type = head.getUint8(25);
  if ([0, 4].includes(type)) found.space = "GRAY";
  found.hasAlpha = type >= 4;
  for (let at = 8; ; ) {
    const view = await bytes.from(at, 8);
    const kind = text(view, 4, 4);
    if (kind === "IDAT" || kind === "IEND") return;
    const end = at + 12 + view.getUint32(0);
    if (kind === "tRNS") found.hasAlpha = true;
    if (["iCCP", "sRGB", "gAMA", "cHRM", "cICP"].includes(kind)) found.colours.push([at, end, ""]);
    if (kind === "iCCP") {
      const name = await bytes.find(at + 8, (byte) => byte === 0);
      if (name - at - 8 <= MAX_PNG_NAME) found.profile.push([name + 2, end - 4]); // after it comes the method: deflate
    }
    at = end;
  }
}

function readBmp(view, found) {
  found.format = "BMP";
  const old = view.getUint32(14, true) === 12; // OS/2
  found.size = old
    ? [view.getUint16(18, true), view.getUint16(20, true)]
    : [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
}

const HAS_EXIF = 8; // of the flags of VP8X
const HAS_ALPHA = 16;
const NONE = "none"; // the name of an unknown chunk, which replaces a chunk's own because the file says how long it is

async function readWebp(bytes, found) {
  found.format = "WEBP";
  const fileEnd = 8 + (await bytes.from(4, 4)).getUint32(0, true);
  let hasExif = false;
  for (let at = 12; at < fileEnd; ) {
    const head = await bytes.from(at, 8);
    const kind = text(head, 0, 4);
    const length = head.getUint32(4, true);
    const from = at + 8;
    if (kind === "VP8X") {
      const view = await bytes.from(from, 10);
      const three = (place) => view.getUint16(place, true) | (view.getUint8(place + 2) << 16);
      hasExif = (view.getUint8(0) & HAS_EXIF) > 0;
      found.hasAlpha = (view.getUint8(0) & HAS_ALPHA) > 0;
      found.size = [three(4) + 1, three(7) + 1];
    } else if (kind === "ICCP") {
      found.profile.push([from, from + length]);
      found.colours.push([at, at + 4, NONE]);
    } else if (kind === "VP8 ") {
      const view = await bytes.from(from, 10);
      found.size ??= [view.getUint16(6, true) & 0x3fff, view.getUint16(8, true) & 0x3fff];
    } else if (kind === "VP8L") {
      const bits = (await bytes.from(from, 5)).getUint32(1, true);
      found.size ??= [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
      found.hasAlpha ||= ((bits >> 28) & 1) > 0;
    } else if (kind === "EXIF" && hasExif && !found.exif.length) {
      found.orientation = await orientationOf(bytes.blob.slice(from, from + Math.min(length, WINDOW)));
      found.exif.push([at, at + 4, NONE]);
    }
    at = from + length + (length % 2);
  }
}

const ORIENTATION = 0x0112; // of EXIF: 1 to 8
const LONG = 4; // a number of four bytes

/** The orientation in EXIF data, 1 (upright) if there is none. */
async function orientationOf(blob) {
  const whole = new DataView(await blob.arrayBuffer());
  try {
    const view = new DataView(whole.buffer, text(whole, 0, 6) === "Exif\0\0" ? 6 : 0);
    const little = text(view, 0, 2) === "II";
    const list = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(list, little); i++) {
      const entry = list + 2 + 12 * i;
      if (view.getUint16(entry, little) !== ORIENTATION) continue;
      const isLong = view.getUint16(entry + 2, little) === LONG;
      return isLong ? view.getUint32(entry + 8, little) : view.getUint16(entry + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it is damaged
  }
  return 1;
}

const HEIC = /^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/; // ISO/IEC 23008-12

function readBrands(view, found) {
  const length = Math.min(view.getUint32(0), 256, view.byteLength);
  for (let at = 8; at + 4 <= length; at += 4) {
    const brand = text(view, at, 4);
    if (HEIC.test(brand)) found.format = "HEIC";
    else if (/^(avif|avis)$/.test(brand)) found.format ??= "AVIF";
  }
  found.hasAlpha = true; // other boxes tell it
}
