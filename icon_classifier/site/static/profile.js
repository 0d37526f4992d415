// Convert colours from an ICC profile to sRGB as images.py does: with LittleCMS's fixed-point arithmetic (cmsopt.c).
// This covers profiles of three curves and a matrix, which cameras and displays have, and of grey with one curve.

const MAX_SRGB_DIFFERENCE = 2; // of 255; a profile that changes every colour by at most this counts as sRGB
const ONE = 1 << 14; // 1 in the fixed-point numbers

const float = Math.fround;
const word = (value) => Math.min(65535, Math.max(0, Math.floor(value + 0.5)));
const fixed = (value) => Math.floor(value * ONE + 0.5);

/** A function from 0..1 to 0..1 for a tone curve of a profile. */
function curveOf(view, at) {
  const kind = view.getUint32(at);
  if (kind === 0x63757276) return tableCurve(view, at); // curv
  if (kind !== 0x70617261) throw new RangeError("unknown curve"); // para
  const type = view.getUint16(at + 8);
  const count = [1, 3, 4, 5, 7][type];
  const [g, a, b, c, d, e, f] = Array.from({ length: count }, (_, i) => view.getInt32(at + 12 + 4 * i) / 65536);
  const power = (x) => Math.pow(Math.max(0, a * x + b), g);
  return [
    (x) => Math.pow(x, g),
    (x) => (x >= -b / a ? power(x) : 0),
    (x) => (x >= -b / a ? power(x) + c : c),
    (x) => (x >= d ? power(x) : x * c),
    (x) => (x >= d ? power(x) + e : x * c + f),
  ][type];
}

function tableCurve(view, at) {
  const count = view.getUint32(at + 8);
  if (count === 0) return (x) => x;
  if (count === 1) return (x) => Math.pow(x, view.getUint16(at + 12) / 256);
  const table = Array.from({ length: count }, (_, i) => view.getUint16(at + 12 + 2 * i));
  return (x) => {
    const place = word(x * 65535) * (count - 1);
    const exact = place + Math.floor((place + 0x7fff) / 0xffff); // 16 bits after the point
    const cell = Math.floor(exact / 65536);
    const [low, high] = [table[cell], table[Math.min(cell + 1, count - 1)]];
    return (low + Math.floor(((high - low) * (exact % 65536) + 0x8000) / 65536)) / 65535;
  };
}

const times = (a, b) => a.map((row) => [0, 1, 2].map((j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const minors = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  const determinant = a * minors[0][0] + b * minors[1][0] + c * minors[2][0];
  return minors.map((row) => row.map((minor) => minor / determinant));
}

/** sRGB to XYZ at D50, from the chromaticities of its primaries and D65, adapted as Bradford does. */
function srgbMatrix() {
  const xyz = (x, y) => [x / y, 1, (1 - x - y) / y];
  const [red, green, blue] = [xyz(0.64, 0.33), xyz(0.3, 0.6), xyz(0.15, 0.06)];
  const column = (vector) => vector.map((value) => [value, 0, 0]);
  const primaries = [0, 1, 2].map((i) => [red[i], green[i], blue[i]]);
  const white = xyz(0.3127, 0.329);
  const share = times(inverse(primaries), column(white)).map((row) => row[0]);
  const bradford = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
  const cones = (vector) => times(bradford, column(vector)).map((row) => row[0]);
  const [from, to] = [cones(white), cones([0.9642, 1, 0.8249])];
  const scale = [0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? to[i] / from[i] : 0)));
  const adapted = times(inverse(bradford), times(scale, bradford));
  return times(adapted, primaries.map((row) => row.map((value, j) => value * share[j])));
}

const [A, B, C, D] = [1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]; // of sRGB's curve
const encode = (x) => (x >= Math.pow(A * D + B, 2.4) ? (Math.pow(x, 1 / 2.4) - B) / A : x / C);
const toByte = (x) => Math.floor((word(Math.min(1, Math.max(0, x)) * 65535) * 65281 + 8388608) / 16777216);
let encoded; // by fixed-point number

/** What a profile of three curves and a matrix does to RGBA bytes, in place. */
function matrixConversion(curves, matrix) {
  encoded ??= Uint8Array.from({ length: ONE + 1 }, (_, i) => toByte(float(encode(float(i / ONE)))));
  const [reds, greens, blues] = curves.map((curve) =>
    Int32Array.from({ length: 256 }, (_, i) => fixed(float(curve(float(i / 255))))),
  );
  const rows = times(inverse(srgbMatrix()), matrix).map((row) => row.map(fixed));
  const level = ([x, y, z], r, g, b) => {
    const sum = Math.floor((x * r + y * g + z * b + 0x2000) / ONE);
    return encoded[sum < 0 ? 0 : sum > ONE ? ONE : sum];
  };
  return (pixels) => {
    for (let i = 0; i < pixels.length; i += 4) {
      const [r, g, b] = [reds[pixels[i]], greens[pixels[i + 1]], blues[pixels[i + 2]]];
      pixels[i] = level(rows[0], r, g, b);
      pixels[i + 1] = level(rows[1], r, g, b);
      pixels[i + 2] = level(rows[2], r, g, b);
    }
  };
}

/** What a profile of grey does to RGBA bytes, in place. */
function greyConversion(curve) {
  const levels = Uint8Array.from({ length: 256 }, (_, i) => toByte(encode(curve(i / 255))));
  return (pixels) => pixels.forEach((value, i) => (pixels[i] = i % 4 === 3 ? value : levels[value]));
}

function tagsOf(view) {
  const tags = new Map();
  for (let i = 0; i < view.getUint32(128); i++) {
    const at = 132 + 12 * i;
    tags.set(String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, 4)), view.getUint32(at + 4));
  }
  return tags;
}

/** Whether a conversion leaves white bright and black dark. */
function isSane(convert) {
  const ends = Uint8ClampedArray.of(255, 255, 255, 255, 0, 0, 0, 255);
  convert(ends);
  return Math.min(...ends.subarray(0, 3)) >= 200 && Math.max(...ends.subarray(4, 7)) <= 100;
}

function changesColours(convert) {
  const levels = Array.from({ length: 4096 }, (_, i) => [i >> 8, (i >> 4) & 15, i & 15, 15]).flat();
  const colours = Uint8ClampedArray.from(levels, (level) => 17 * level);
  convert(colours);
  return colours.some((value, i) => Math.abs(value - 17 * levels[i]) > MAX_SRGB_DIFFERENCE);
}

/**
 * How to convert the colours of an image to sRGB: a function that changes RGBA bytes; null if there is nothing to
 * convert; "browser" for profiles that only the browser can apply. `bytes`: the profile. `space`: that of the image's
 * colours.
 */
export function conversionOf(bytes, space) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (new TextDecoder("latin1").decode(bytes).includes("mpet")) return null; // operations of any number
    const own = String.fromCharCode(...bytes.subarray(16, 20));
    if (own === "GRAY" ? space !== "GRAY" : (own === "CMYK") !== (space === "CMYK")) return null;
    const tags = tagsOf(view);
    if (own === "CMYK" || (own === "RGB " && tags.has("A2B0"))) return "browser";
    if (own === "GRAY") {
      const convert = greyConversion(curveOf(view, tags.get("kTRC")));
      return isSane(convert) ? convert : null;
    }
    if (own !== "RGB ") return null;
    const colours = ["rXYZ", "gXYZ", "bXYZ"].map((tag) => tags.get(tag));
    const matrix = [0, 1, 2].map((i) => colours.map((at) => view.getInt32(at + 8 + 4 * i) / 65536));
    const convert = matrixConversion(["rTRC", "gTRC", "bTRC"].map((tag) => curveOf(view, tags.get(tag))), matrix);
    return isSane(convert) && changesColours(convert) ? convert : null;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return null; // a damaged profile
    throw error;
  }
}
