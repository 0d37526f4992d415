// What the headers of an image file say, before anything is decoded: format, size in pixels, colour profile.

const HEADERS = 4 << 20; // bytes that are looked at; a profile for print can have 2 MB

const text = (view, at, length) => String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));

/**
 * What a file is: {format, size, space, profile, drop}. `format` is one of images.py's, "HEIC", or null for others.
 * `size` [width, height] is null where the headers do not tell. `space` is that of its colours, as in ICC profiles.
 * `profile` are the pieces of the profile, each [begin, end]. `drop` are all pieces that describe colours, which browsers
 * may apply though images.py does not, each [begin, end, what to put there].
 */
export function describe(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { format: null, size: null, space: "RGB ", profile: [], drop: [] };
  try {
    if (view.getUint16(0) === 0xffd8) readJpeg(view, found);
    else if (text(view, 1, 7) === "PNG\r\n\x1a\n") readPng(view, found);
    else if (/^GIF8[79]a/.test(text(view, 0, 6))) {
      found.format = "GIF";
      found.size = [view.getUint16(6, true), view.getUint16(8, true)];
    } else if (text(view, 0, 2) === "BM") readBmp(view, found);
    else if (text(view, 0, 4) === "RIFF" && text(view, 8, 4) === "WEBP") readWebp(view, found);
    else if (text(view, 4, 4) === "ftyp") readBrands(view, found);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file ends, or its headers are longer than what is read
  }
  return found;
}

export const headersOf = async (blob) => new Uint8Array(await blob.slice(0, HEADERS).arrayBuffer());

const MAX_PROFILE_BYTES = 8 << 20; // as in images.py; a few bytes of a PNG can unpack to gigabytes

/** The bytes of the ICC profile that `describe` found in a file, or null. */
export async function profileOf(bytes, { format, profile }) {
  if (!profile.length) return null;
  const blob = new Blob(profile.map(([begin, end]) => bytes.subarray(begin, end)));
  if (format !== "PNG") return new Uint8Array(await blob.arrayBuffer());
  const chunks = [];
  let length = 0;
  try {
    const reader = blob.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
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

/** `blob` without the pieces of `describe`'s `drop`. */
export function withoutColours(blob, drop) {
  let at = 0;
  const pieces = drop.flatMap(([begin, end, instead]) => {
    const before = blob.slice(at, begin);
    at = end;
    return [before, instead];
  });
  return drop.length ? new Blob([...pieces, blob.slice(at)], { type: blob.type }) : blob;
}

function readJpeg(view, found) {
  found.format = "JPEG";
  for (let at = 2; ; ) {
    while (view.getUint8(at) !== 0xff) at++;
    while (view.getUint8(at) === 0xff) at++;
    const marker = view.getUint8(at++);
    if (marker === 0xda || marker === 0xd9) return; // the pixels begin
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) continue; // these have no content
    const end = at + view.getUint16(at);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      found.size = [view.getUint16(at + 5), view.getUint16(at + 3)];
      found.space = { 1: "GRAY", 4: "CMYK" }[view.getUint8(at + 7)] ?? "RGB ";
    } else if (marker === 0xe2 && text(view, at + 2, 12) === "ICC_PROFILE\0") {
      found.profile.push([at + 16, end]);
      found.drop.push([at - 2, end, ""]);
    }
    at = end;
  }
}

function readPng(view, found) {
  found.format = "PNG";
  found.size = [view.getUint32(16), view.getUint32(20)];
  if ([0, 4].includes(view.getUint8(25))) found.space = "GRAY";
  for (let at = 8; ; ) {
    const kind = text(view, at + 4, 4);
    if (kind === "IDAT" || kind === "IEND") return;
    const end = at + 12 + view.getUint32(at);
    if (["iCCP", "sRGB", "gAMA", "cHRM", "cICP"].includes(kind)) found.drop.push([at, end, ""]);
    if (kind === "iCCP") {
      let name = at + 8;
      while (view.getUint8(name) !== 0) name++;
      found.profile.push([name + 2, end - 4]); // after it comes the method, which is always deflate
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

function readWebp(view, found) {
  found.format = "WEBP";
  for (let at = 12; ; ) {
    const kind = text(view, at, 4);
    const length = view.getUint32(at + 4, true);
    const from = at + 8;
    const end = from + length + (length % 2);
    const three = (place) => view.getUint16(place, true) | (view.getUint8(place + 2) << 16);
    if (kind === "VP8X") found.size = [three(from + 4) + 1, three(from + 7) + 1];
    else if (kind === "ICCP") {
      found.profile.push([from, from + length]);
      found.drop.push([at, at + 4, "none"]); // an unknown chunk, because the file says how long it is
    } else if (kind === "VP8 ") {
      found.size ??= [view.getUint16(from + 6, true) & 0x3fff, view.getUint16(from + 8, true) & 0x3fff];
      return;
    } else if (kind === "VP8L") {
      const bits = view.getUint32(from + 1, true);
      found.size ??= [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
      return;
    } else if (kind === "ANMF") return;
    at = end;
  }
}

const HEIC = /^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/; // ISO/IEC 23008-12

function readBrands(view, found) {
  const length = Math.min(view.getUint32(0), 256, view.byteLength);
  for (let at = 8; at + 4 <= length; at += 4) {
    const brand = text(view, at, 4);
    if (HEIC.test(brand)) found.format = "HEIC";
    else if (/^(avif|avis)$/.test(brand)) found.format ??= "AVIF";
  }
}
