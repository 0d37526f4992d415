// The browser's part of the upload widget (upload.py): accept images, scale them down, and send them to the kernel.

const SHORTER_SIDE = 512; // px, of an image that is sent; a network uses about half of that
const MAX_UNCHANGED_BYTES = 200_000; // a file is sent unchanged if it has at most this size
const MAX_UNCHANGED_PIXELS = 4_000_000; // and at most this number of pixels
const MAX_UNREADABLE_BYTES = 8_000_000; // of a file that the browser cannot decode; the rest is cut off
const QUALITIES = [0.9, 0.7, 0.5]; // of JPEG; the first that gives at most `MAX_JPEG_BYTES` is used
const MAX_JPEG_BYTES = 250_000;

/** Return the image in `file` as a Blob, upright and scaled down. A file that the browser cannot decode is unchanged. */
async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // applies the EXIF rotation
  } catch {
    return file.slice(0, MAX_UNREADABLE_BYTES);
  }
  if (file.size <= MAX_UNCHANGED_BYTES && bitmap.width * bitmap.height <= MAX_UNCHANGED_PIXELS) {
    bitmap.close();
    return file;
  }
  const scale = Math.min(1, SHORTER_SIDE / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // transparent areas become white, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  let jpeg;
  for (const quality of QUALITIES) {
    jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (jpeg && jpeg.size <= MAX_JPEG_BYTES) break;
  }
  return jpeg ?? file.slice(0, MAX_UNREADABLE_BYTES);
}

/** Return a new element with `properties`. */
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** `reduce` makes a Blob of a file that is chosen; it returns a promise. */
function render({ model, el, reduce = smaller }) {
  const inputs = { multiple: true, accept: "image/*", type: "file", hidden: true };
  const choose = element("button", { type: "button", className: "icon-choose", textContent: "Choose pictures" });
  const hint = element("p", { className: "icon-hint", textContent: "or drop them anywhere here, or paste one" });
  const camera = element("button", { type: "button", className: "icon-camera", textContent: "Take a picture" });
  const chooser = element("input", inputs);
  const lens = element("input", { ...inputs, multiple: false });
  lens.setAttribute("capture", "environment");
  const progress = element("p", { className: "icon-progress" });
  const said = element("p", { className: "icon-said" });
  said.setAttribute("role", "status"); // screen readers read it aloud when it changes
  el.append(choose, camera, hint, chooser, lens, progress, said);

  let latest = 0; // the number of the newest upload, which cancels those before it
  let shown = []; // the object URLs of the images on the page; revoking them frees their memory

  async function take(files) {
    if (!files.length) return model.send({ nothing: true });
    const run = ++latest;
    const begun = Date.now();
    const taken = [...files].slice(0, model.get("max_images"));
    shown.forEach(URL.revokeObjectURL);
    shown = [];
    model.send({ begin: files.length });
    for (const [number, file] of taken.entries()) {
      if (Date.now() - begun > 300) progress.textContent = `Reading picture ${number + 1} of ${taken.length} …`;
      const blob = await reduce(file);
      const content = await blob.arrayBuffer().catch(() => null); // a folder, or a file that was deleted
      if (run !== latest) return;
      shown.push(URL.createObjectURL(blob));
      await model.send({ name: file.name, address: shown.at(-1) }, undefined, content ? [content] : []);
    }
    progress.textContent = "";
  }

  for (const [button, input] of [[choose, chooser], [camera, lens]]) {
    button.onclick = () => input.click();
    input.onchange = () => {
      take(input.files);
      input.value = ""; // so that choosing the same file again fires the event
    };
  }

  const examples = model.get("examples");
  if (examples.length) {
    const row = element("p", { className: "icon-examples", textContent: "None at hand? Take one of these: " });
    for (const { name, content } of examples) {
      const file = new File([content], name);
      const button = element("button", { type: "button", onclick: () => take([file]) });
      button.append(element("img", { src: URL.createObjectURL(file), alt: `Example: ${name}` }));
      row.append(button);
    }
    el.append(row);
  }

  // The whole page accepts drops, because otherwise the browser would navigate to a dropped image or link.
  const until = new AbortController();
  const on = (event, what) => document.addEventListener(event, what, { signal: until.signal });
  const typed = (event) => event.target.closest?.("input, textarea, [contenteditable]"); // handles text itself
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
    take(event.dataTransfer.files); // an image from another tab may be a file; a link is none
  });
  on("paste", (event) => typed(event) || take(event.clipboardData.files));
  const speak = () => (said.textContent = model.get("said"));
  model.on("change:said", speak);

  return () => {
    until.abort();
    model.off("change:said", speak);
  };
}

export default { render };
