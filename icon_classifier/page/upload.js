// The browser's part of the upload widget (upload.py): accept images, scale them down, and send them to the kernel.

const SHORTER_SIDE = 512; // px, of an image that is sent; a network uses about half of that
const MAX_UNCHANGED_BYTES = 200_000; // a file is sent unchanged if it has at most this size
const MAX_UNCHANGED_PIXELS = 4_000_000; // and at most this number of pixels
const MAX_UNREADABLE_BYTES = 8_000_000; // of a file that the browser cannot decode; the rest is cut off
const QUALITIES = [0.9, 0.7, 0.5]; // of JPEG; the first that gives at most `MAX_JPEG_BYTES` is used
const MAX_JPEG_BYTES = 250_000;

const COLOURS = ["#c81e5a", "#0adc8c", "#3c3cfa"]; // any that differ
const MAX_NOISE = 3; // of 255; some browsers change the pixels that a page reads by one or two, which does no harm

/**
 * Return whether the browser gives pages other pixels than a canvas has, as Firefox does to resist fingerprinting.
 * `canvas`: any, which is changed.
 */
export function hidesPixels(canvas) {
  canvas.width = COLOURS.length;
  canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return COLOURS.some((colour, x) => {
    context.fillStyle = colour;
    context.fillRect(x, 0, 1, 1);
    const { data } = context.getImageData(x, 0, 1, 1);
    const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return channels.some((value, i) => Math.abs(value - data[i]) > MAX_NOISE);
  });
}

/** Return the image in `file` as a Blob, upright and scaled down. It is unchanged if the browser cannot do that. */
async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // applies the EXIF rotation
  } catch {
    return file.slice(0, MAX_UNREADABLE_BYTES);
  }
  const { width, height } = bitmap;
  try {
    if (file.size <= MAX_UNCHANGED_BYTES && width * height <= MAX_UNCHANGED_PIXELS) return file;
    if (hidesPixels(document.createElement("canvas"))) return file.slice(0, MAX_UNREADABLE_BYTES);
    return (await jpegOf(bitmap)) ?? file.slice(0, MAX_UNREADABLE_BYTES);
  } finally {
    bitmap.close();
  }
}

/** Return `bitmap`, scaled down, as a Blob of JPEG, or null if the browser makes none. */
async function jpegOf(bitmap) {
  const scale = Math.min(1, SHORTER_SIDE / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // transparent areas become white, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  let jpeg;
  for (const quality of QUALITIES) {
    jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (jpeg && jpeg.size <= MAX_JPEG_BYTES) break;
  }
  return jpeg;
}

/** Return what is sent of `file`: a Blob to show, and its bytes, or null if the file cannot be read. */
async function pack(file) {
  const blob = await smaller(file);
  return [blob, await blob.arrayBuffer().catch(() => null)]; // a folder, or a file that was deleted
}

/** Return a new element with `properties`. */
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Return the elements with which files are chosen or photographed; `take` is called with them. */
function controls(take) {
  const inputs = { multiple: true, accept: "image/*", type: "file", hidden: true };
  const choose = element("button", { type: "button", className: "icon-choose", textContent: "Choose pictures" });
  const hint = element("p", { className: "icon-hint", textContent: "or drop them anywhere here, or paste one" });
  const camera = element("button", { type: "button", className: "icon-camera", textContent: "Take a picture" });
  const chooser = element("input", inputs);
  const lens = element("input", { ...inputs, multiple: false });
  lens.setAttribute("capture", "environment");
  for (const [button, input] of [[choose, chooser], [camera, lens]]) {
    button.onclick = () => input.click();
    input.onchange = () => {
      take([...input.files]);
      input.value = ""; // so that choosing the same file again fires the event
    };
  }
  return [choose, camera, hint, chooser, lens];
}

/** Return a row of buttons, one per example, with which the example is taken. */
function exampleRow(examples, take) {
  const row = element("p", { className: "icon-examples", textContent: "None at hand? Take one of these: " });
  for (const { name, content } of examples) {
    const file = new File([content], name);
    const button = element("button", { type: "button", onclick: () => take([file]) });
    button.append(element("img", { src: URL.createObjectURL(file), alt: `Example: ${name}` }));
    row.append(button);
  }
  return row;
}

/**
 * Take files that are dropped or pasted, until `signal`. The whole page accepts drops, because otherwise the browser
 * would navigate to a dropped image or link. `el` shows that something is dragged.
 */
function acceptDrops(el, take, signal) {
  const on = (event, what) => document.addEventListener(event, what, { signal });
  const field = (event) => event.target.closest?.("input, textarea, [contenteditable]");
  const typed = (event) => field(event) && field(event).type !== "checkbox"; // handles text itself
  const dragged = (event) => event.dataTransfer?.types.includes("Files") || !typed(event);
  on("dragover", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    el.classList.add("icon-over");
  });
  on("dragleave", (event) => event.relatedTarget || el.classList.remove("icon-over"));
  on("drop", (event) => {
    el.classList.remove("icon-over");
    if (!dragged(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]); // an image from another tab may be a file; a link is none
  });
  on("paste", (event) => typed(event) || take([...event.clipboardData.files]));
}

/**
 * Return a function that sends files, and cancels those that an earlier call is sending. `progress`: an element that
 * tells how far it is. `packed`: see `render`.
 */
function sender(model, progress, packed) {
  let latest = 0; // the number of the newest upload
  let shown = []; // the object URLs of the images on the page; revoking them frees their memory
  return async (files) => {
    if (!files.length) return model.send({ nothing: true });
    const run = ++latest;
    const begun = Date.now();
    const taken = files.slice(0, model.get("max_images"));
    shown.forEach(URL.revokeObjectURL);
    shown = [];
    model.send({ begin: files.length });
    for (const [number, file] of taken.entries()) {
      if (Date.now() - begun > 300) progress.textContent = `Reading picture ${number + 1} of ${taken.length} …`;
      const [blob, content] = await packed(file);
      if (run !== latest) return;
      shown.push(URL.createObjectURL(blob));
      await model.send({ name: file.name, address: shown.at(-1) }, undefined, content ? [content] : []);
    }
    progress.textContent = "";
    model.send({ sent: taken.length }); // arrives after a lost connection came back, and some images may not have
  };
}

/** `packed` returns a promise of what is sent of a file: [a Blob to show, its content or null]. */
function render({ model, el, packed = pack }) {
  const progress = element("p", { className: "icon-progress" });
  const said = element("p", { className: "icon-said" });
  said.setAttribute("role", "status"); // screen readers read it aloud when it changes
  const take = sender(model, progress, packed);
  el.append(...controls(take), progress, said);
  const examples = model.get("examples");
  if (examples.length) el.append(exampleRow(examples, take));
  const until = new AbortController();
  acceptDrops(el, take, until.signal);
  const speak = () => (said.textContent = model.get("said"));
  model.on("change:said", speak);
  return () => {
    until.abort();
    model.off("change:said", speak);
  };
}

export default { render };
