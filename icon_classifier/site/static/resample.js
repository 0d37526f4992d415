// Pillow's Image.resize for RGB images, byte for byte: two passes of fixed-point sums, as in its Resample.c.

const PRECISION = 22; // bits after the point: 32, less 8 of a pixel, less 2 for sums above 1
const HALF = 1 << (PRECISION - 1);

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const hamming = (x) => (x >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI)));
function bicubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// By Pillow's number: [support, function of the distance from the centre]
const FILTERS = {
  1: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)], // LANCZOS
  2: [1, (x) => Math.max(0, 1 - Math.abs(x))], // BILINEAR
  3: [2, (x) => bicubic(Math.abs(x))], // BICUBIC
  4: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)], // BOX
  5: [1, (x) => hamming(Math.abs(x))], // HAMMING
};

/** The index in a line of `length` pixels for place `i`, which may lie beyond it; -1 for black; see numpy.pad. */
function indexOf(i, length, padMode) {
  if (i >= 0 && i < length) return i;
  if (padMode === "zeros") return -1;
  if (padMode === "border") return i < 0 ? 0 : length - 1;
  const period = 2 * (length - 1) || 1;
  const place = ((i % period) + period) % period;
  return place < length ? place : period - place;
}

/**
 * How the pixels `from` to `to` of a line of `length` pixels become `size` pixels, of which `keep` [first, end] are
 * wanted. `from` and `to` may lie beyond the line: `padMode` says what is there. Returns a table: for each wanted pixel
 * `room` places, of which `count` are used, with the `index` of a pixel and its `weight`.
 */
export function tableFor({ from, to, length, size, keep, resample, padMode }) {
  const [reach, filter] = FILTERS[resample];
  const scale = (to - from) / size;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  const room = Math.ceil(support) * 2 + 1;
  const wanted = keep[1] - keep[0];
  const table = {
    padded: from < 0 || to > length, // else the indices of a pixel follow each other
    room,
    count: new Int32Array(wanted),
    index: new Int32Array(wanted * room),
    weight: new Int32Array(wanted * room),
  };
  const exact = new Float64Array(room);
  for (let i = 0; i < wanted; i++) {
    const centre = (keep[0] + i + 0.5) * scale;
    // Pillow copies a line that keeps its length
    const first = scale === 1 ? keep[0] + i : Math.max(0, Math.trunc(centre - support + 0.5));
    const count = scale === 1 ? 1 : Math.min(to - from, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      exact[k] = scale === 1 ? 1 : filter((k + first - centre + 0.5) * (1 / stretch));
      sum += exact[k];
    }
    table.count[i] = count;
    for (let k = 0; k < count; k++) {
      const weight = (sum === 0 ? exact[k] : exact[k] / sum) * 2 ** PRECISION;
      const index = indexOf(from + first + k, length, padMode);
      table.index[i * room + k] = Math.max(index, 0);
      table.weight[i * room + k] = index < 0 ? 0 : Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return table;
}

/** The first index in a table, and the one after its last. */
function extent({ room, count, index }) {
  let [first, end] = [Infinity, 0];
  count.forEach((n, i) => {
    for (const at of index.subarray(i * room, i * room + n)) {
      first = Math.min(first, at);
      end = Math.max(end, at + 1);
    }
  });
  return [first, end];
}

/** A sum with `PRECISION` bits after the point as a byte. */
function clip(sum) {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * Resize `rows` rows of `pixels`, of `width` pixels of `step` bytes. Index `first` of the table is their first column.
 * Writes RGB to `out`, from its row `row` on.
 */
function across(pixels, { step, width, rows, first }, table, out, row) {
  const { padded, room, count, index, weight } = table;
  const wanted = count.length;
  let at = row * wanted * 3;
  for (let y = 0; y < rows; y++) {
    const line = (y * width - first) * step;
    for (let x = 0; x < wanted; x++) {
      let r = HALF;
      let g = HALF;
      let b = HALF;
      const begin = x * room;
      const end = begin + count[x];
      let pixel = line + index[begin] * step;
      for (let k = begin; k < end; k++) {
        if (padded) pixel = line + index[k] * step;
        const w = weight[k];
        r = (r + Math.imul(pixels[pixel], w)) | 0;
        g = (g + Math.imul(pixels[pixel + 1], w)) | 0;
        b = (b + Math.imul(pixels[pixel + 2], w)) | 0;
        pixel += step;
      }
      out[at++] = clip(r);
      out[at++] = clip(g);
      out[at++] = clip(b);
    }
  }
}

/**
 * Resize the columns of `pixels`, `width` pixels of `step` bytes wide. Index `first` of the table is their first row.
 * Writes RGB to `out`, `outWidth` pixels wide, from its column `column` on.
 */
function down(pixels, { step, width, first }, table, out, outWidth, column) {
  const sums = new Int32Array(width * 3);
  for (let y = 0; y < table.count.length; y++) {
    sums.fill(HALF);
    for (let k = y * table.room, end = k + table.count[y]; k < end; k++) {
      const weight = table.weight[k];
      let pixel = (table.index[k] - first) * width * step;
      for (let i = 0; i < sums.length; i += 3, pixel += step) {
        sums[i] += Math.imul(pixels[pixel], weight);
        sums[i + 1] += Math.imul(pixels[pixel + 1], weight);
        sums[i + 2] += Math.imul(pixels[pixel + 2], weight);
      }
    }
    const at = (y * outWidth + column) * 3;
    for (let i = 0; i < sums.length; i++) out[at + i] = clip(sums[i]);
  }
}

const STRIP = 1_000_000; // pixels that are read at a time: a phone has little memory, and limits the size of a canvas

/**
 * Resize an image as the tables say; returns RGB bytes. `read(x, y, width, height)` returns a part of the image as RGBA
 * bytes. `downFirst`: whether the columns come before the rows, which changes the rounding; see `isDownFirst`.
 */
export function resizeImage(read, columns, rows, downFirst) {
  const [left, right] = extent(columns);
  const [top, bottom] = extent(rows);
  const [width, height] = [right - left, bottom - top];
  const [outWidth, outHeight] = [columns.count.length, rows.count.length];
  const out = new Uint8Array(outWidth * outHeight * 3);
  if (downFirst) {
    const low = new Uint8Array(width * outHeight * 3);
    const strip = Math.max(1, Math.floor(STRIP / height));
    for (let x = 0; x < width; x += strip) {
      const n = Math.min(strip, width - x);
      down(read(left + x, top, n, height), { step: 4, width: n, first: top }, rows, low, width, x);
    }
    across(low, { step: 3, width, rows: outHeight, first: left }, columns, out, 0);
  } else {
    const narrow = new Uint8Array(outWidth * height * 3);
    const strip = Math.max(1, Math.floor(STRIP / width));
    for (let y = 0; y < height; y += strip) {
      const n = Math.min(strip, height - y);
      across(read(left, top + y, width, n), { step: 4, width, rows: n, first: left }, columns, narrow, y);
    }
    down(narrow, { step: 3, width: outWidth, first: top }, rows, out, outWidth, 0);
  }
  return out;
}

/** Whether Pillow (13 and newer) resizes the columns before the rows: where that saves much work. */
export function isDownFirst([width, height], [newWidth, newHeight]) {
  return height > newHeight && height - newHeight > (width - newWidth) * 2;
}
