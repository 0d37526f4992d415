// The worker that classifies: export.onnx, run by onnxruntime-web on one thread; model/classifier.py, in the browser.
//
// It takes messages {id, job, ...} and answers {id, done}, or {id, problem, trouble}: a sentence for the visitor or null,
// and the details for the console. While it loads it posts {progress: 0 to 1}. The jobs:
//
// begin {card}: `labels` and `preprocessing` as in card.json
// load {config}: {bytes, cache, runtime, model, sha256}. `runtime` and `model` are the names of the pieces of a gzip file, or
//   a Blob of it; `bytes` the size of all pieces; `cache` the name of a Cache or null; `sha256` {piece: list of hex}: a host
//   may have unpacked a file that is in one piece. Returns the times in ms after which the files had come, the session
//   existed, and it was warm.
// prepare {file, thumbnail}: a Blob and whether to make a thumbnail. Returns {size, rgb, thumbnail}; needs no model.
// predict {size, rgb, heatmap}: what `prepare` returned, and whether to compute a heatmap. Waits for `load`.
import { INCOMPLETE, download } from "./download.js";
import * as ort from "./ort.js";
import { ImageError, normalize, openImage, paint, reader, resize, visibleBox } from "./prepare.js";

const THUMBNAIL = 640; // px, of its longer side
let card, session, loaded;

const NO_MEMORY = "This device has too little free memory for this. Close other tabs and apps, then reload the page.";
const NOT_RUN = "This browser cannot run the model: perhaps it is too old. Reload the page, or try another browser.";

/** A problem with a sentence for the visitor. */
class LoadError extends Error {}

/** Whether memory could not be allocated: by the browser (a RangeError), or by onnxruntime (std::bad_alloc). */
const isMemory = (error) => error instanceof RangeError || /alloc|memory/i.test(`${error}`.replace(/\w+:\/\/\S+/g, ""));

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
const isGzip = (bytes) => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Whether the SHA-256 of `bytes` is among `hashes`. */
async function isAmong(bytes, hashes) {
  if (!self.crypto?.subtle) return true; // at an address without https, where nothing is cached
  return hashes.includes(hex(await crypto.subtle.digest("SHA-256", bytes)));
}

/** The bytes of a piece, from the cache or else downloaded, and put there. */
async function piece(name, cache, config, grow) {
  const isRight = (bytes) => isAmong(bytes, config.sha256[name]);
  const kept = await cache?.match(name, { ignoreVary: true }).then((found) => found?.arrayBuffer()).catch(() => null);
  if (kept && (await isRight(kept))) {
    grow(kept.byteLength);
    return new Uint8Array(kept);
  }
  const bytes = await download(name, isRight, grow);
  cache?.put(name, new Response(bytes)).catch(() => {}); // the disk may be full
  return bytes;
}

/** What a gzip file contains: an ArrayBuffer. `source`: the names of its pieces, or a Blob. */
async function content(source, config, cache, grow) {
  try {
    const pieces = source instanceof Blob ? [source] : await Promise.all(source.map((name) => piece(name, cache, config, grow)));
    const packed = new Blob(pieces);
    if (!isGzip(new Uint8Array(await packed.slice(0, 2).arrayBuffer()))) return await packed.arrayBuffer();
    return await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  } catch (error) {
    if (isMemory(error)) throw error;
    throw Object.assign(new LoadError(INCOMPLETE), { cause: error });
  }
}

/** The Cache with this name, or null where there is none: the browser may refuse to store anything. */
async function openCache(name) {
  try {
    return await self.caches.open(name);
  } catch {
    return null;
  }
}

async function load({ config }) {
  const begin = performance.now();
  const times = {};
  const mark = (what) => (times[what] = performance.now() - begin);
  let came = 0;
  const grow = (bytes) => postMessage({ progress: Math.min(1, (came += bytes) / config.bytes) });
  const cache = config.cache ? await openCache(config.cache) : null;
  const files = [config.runtime, config.model].map((source) => content(source, config, cache, grow));
  const [runtime, model] = await Promise.all(files);
  mark("fetched");
  try {
    await openSession(runtime, model);
    mark("session");
    const [width, height] = card.preprocessing.size;
    await run(new Float32Array(3 * width * height), false); // the first one is slow
    mark("warm");
  } catch (error) {
    throw Object.assign(new LoadError(isMemory(error) ? NO_MEMORY : NOT_RUN), { cause: error });
  }
  return times;
}

async function openSession(runtime, model) {
  ort.env.wasm.numThreads = 1; // more need headers that free hosts do not send
  ort.env.wasm.wasmBinary = runtime;
  session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: ["wasm"],
    enableCpuMemArena: false, // the arena never returns memory
  });
  ort.env.wasm.wasmBinary = undefined;
}

/** The model's outputs for an input. The heatmap takes time, and is computed only on request. */
async function run(input, heatmap) {
  const [width, height] = card.preprocessing.size;
  const wanted = session.outputNames.filter((name) => name !== "ablated" || heatmap);
  const images = new ort.Tensor("float32", input, [1, 3, height, width]);
  return session.run({ images }, wanted);
}

async function prepare({ file, thumbnail }) {
  const image = await openImage(file);
  const { size } = image;
  try {
    const found = { size, rgb: resize(reader(image), size, card.preprocessing) };
    if (thumbnail) found.thumbnail = await thumbnailOf(image);
    return found;
  } finally {
    image.bitmap.close();
  }
}

/** A small JPEG of an image: a page with the photos themselves would take a gigabyte. */
function thumbnailOf(image) {
  const scale = Math.min(1, THUMBNAIL / Math.max(...image.size));
  const [width, height] = image.size.map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.imageSmoothingQuality = "medium";
  paint(context, image, [0, 0], [width / image.size[0], height / image.size[1]]);
  if (image.convert) {
    const pixels = context.getImageData(0, 0, width, height);
    image.convert(pixels.data);
    context.putImageData(pixels, 0, 0);
  }
  return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}

const logSumExp = (scores) => {
  const most = Math.max(...scores);
  return most + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0));
};

/** log(p / (1 - p)) of label number `i`; see classifier.log_odds. */
const logOdds = (scores, i) => scores[i] - logSumExp(scores.filter((_, other) => other !== i));

function heatmapOf(ablated, scores, best) {
  const [, rows, columns, labels] = ablated.dims;
  const whole = logOdds(scores, best);
  const values = Array.from({ length: rows * columns }, (_, i) => {
    return whole - logOdds([...ablated.data.subarray(i * labels, (i + 1) * labels)], best);
  });
  return { rows, columns, values };
}

async function predict({ size, rgb, heatmap }) {
  await loaded;
  const found = await run(normalize(rgb, card.preprocessing), heatmap);
  const scores = [...found.scores.data];
  const total = logSumExp(scores);
  const probabilities = scores.map((score) => Math.exp(score - total));
  const ranked = scores.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  const oodScore = found.ood_score?.data[0] ?? null;
  return {
    label: card.labels[ranked[0]],
    probability: probabilities[ranked[0]],
    probabilities: ranked.map((i) => [card.labels[i], probabilities[i]]),
    is_ood: oodScore === null ? null : oodScore > 0,
    ood_score: oodScore,
    heatmap: found.ablated ? heatmapOf(found.ablated, scores, ranked[0]) : null,
    crop: visibleBox(size, card.preprocessing),
  };
}

const jobs = {
  begin: (data) => void (card = data.card),
  load: (data) => (loaded = load(data)),
  prepare,
  predict,
};
let turn = Promise.resolve();

self.onmessage = ({ data }) => {
  const work = async () => {
    try {
      postMessage({ id: data.id, done: await jobs[data.job](data) });
    } catch (error) {
      const isSentence = error instanceof ImageError || error instanceof LoadError;
      const problem = isSentence ? error.message : isMemory(error) ? NO_MEMORY : null;
      const cause = error.cause ? ` because of ${error.cause}` : "";
      postMessage({ id: data.id, problem, trouble: `${error.stack ?? error}${cause}` });
    }
  };
  if (data.job === "load") work(); // does not hold up the photos
  else turn = turn.then(work); // one photo at a time: each takes much memory
};
