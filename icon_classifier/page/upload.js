// The page's own part in the browser: pictures come in, by whatever way, and leave for the server smaller than they were.

const SHORTER = 512; // px, the shorter side of what is sent: a network looks at about half of that
const SMALL = 200_000; // bytes; a file of at most so many is sent as it is,
const FEW = 4_000_000; // if it has at most so many pixels
const LARGEST = 8_000_000; // bytes of a file that this browser cannot read; more are cut off, and the server says why
const QUALITIES = [0.9, 0.7, 0.5]; // of JPEG: the first one that gives a file that is not `HEAVY`
const HEAVY = 250_000; // bytes

/** The picture in `file`, upright and small enough to be sent: a Blob. What no browser could read stays as it is. */
async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // turned as the camera noted
  } catch {
    return file.slice(0, LARGEST);
  }
  if (file.size <= SMALL && bitmap.width * bitmap.height <= FEW) {
    bitmap.close();
    return file;
  }
  const scale = Math.min(1, SHORTER / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent lies on white, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  let jpeg;
  for (const quality of QUALITIES) {
    jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (jpeg && jpeg.size <= HEAVY) break;
  }
  return jpeg ?? file.slice(0, LARGEST);
}

/** A new element with `properties`. */
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

function render({ model, el }) {
  const inputs = { multiple: true, accept: "image/*", type: "file", hidden: true };
  const choose = element("button", { type: "button", className: "icon-choose", textContent: "Choose pictures" });
  const hint = element("p", { className: "icon-hint", textContent: "or drop them anywhere here, or paste one" });
  const camera = element("button", { type: "button", className: "icon-camera", textContent: "Take a picture" });
  const chooser = element("input", inputs);
  const lens = element("input", { ...inputs, multiple: false });
  lens.setAttribute("capture", "environment");
  const progress = element("p", { className: "icon-progress" });
  const said = element("p", { className: "icon-said" });
  said.setAttribute("role", "status"); // what stands here is read aloud when it changes
  el.append(choose, camera, hint, chooser, lens, progress, said);

  let latest = 0; // a newer choice ends the reading of the one before it
  let shown = []; // the addresses of the pictures on the page, which hold their memory

  async function take(files) {
    if (!files.length) return model.send({ nothing: true });
    const run = ++latest;
    const begun = Date.now();
    const taken = [...files].slice(0, model.get("most"));
    shown.forEach(URL.revokeObjectURL);
    shown = [];
    model.send({ begin: files.length });
    for (const [number, file] of taken.entries()) {
      if (Date.now() - begun > 300) progress.textContent = `Reading picture ${number + 1} of ${taken.length} …`;
      const blob = await smaller(file);
      const content = await blob.arrayBuffer().catch(() => null); // a folder, or a file that has gone
      if (run !== latest) return;
      shown.push(URL.createObjectURL(blob));
      model.send({ name: file.name, address: shown.at(-1) }, undefined, content ? [content] : []);
    }
    progress.textContent = "";
    document.querySelector(".icon-button")?.focus({ preventScroll: true }); // so that Enter goes on
  }

  for (const [button, input] of [[choose, chooser], [camera, lens]]) {
    button.onclick = () => input.click();
    input.onchange = () => {
      take(input.files);
      input.value = ""; // the same file may be chosen again
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

  // The whole page takes what is dropped or pasted: the browser would leave the page for a picture or a link.
  const until = new AbortController();
  const on = (event, what) => document.addEventListener(event, what, { signal: until.signal });
  const typed = (event) => event.target.closest?.("input, textarea, [contenteditable]"); // takes text by itself
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
    take(event.dataTransfer.files); // a browser may give a picture of another tab as a file; of a link there is none
  });
  on("paste", (event) => typed(event) || take(event.clipboardData.files));
  on("click", (event) => {
    const table = event.target.closest?.(".icon-copy")?.parentElement.querySelector("table");
    if (!table) return;
    getSelection().selectAllChildren(table);
    const copied = document.execCommand("copy"); // as a table, which spreadsheets take; writeText would give bare text
    said.textContent = event.target.textContent = copied ? "Copied" : "Selected: now copy it";
  });
  const speak = () => (said.textContent = model.get("said"));
  model.on("change:said", speak);

  return () => {
    until.abort();
    model.off("change:said", speak);
  };
}

export default { render };
