// The page without a server: what icon_classifier/page/page.py does in a kernel.
import { Engine } from "./engine.js";
import { overlay } from "./overlay.js";
import { escape, figure, inASentence, row } from "./render.js";
import buttonWidget from "./button.js";
import tableWidget from "./table.js";
import uploadWidget from "./upload.js";
import { Model } from "./widget.js";

const NOTHING_CHOSEN = "Choose a picture first, then press the button.";
const NO_FILE = "That contained no picture file. Save the picture first, then choose the file or drop it here.";
const UNREADABLE = "This file could not be read. If it is a folder, choose the pictures in it.";
const NOT_LOADED = "The model could not be loaded. Check the connection, then press the button to try again.";
const FULL = "The server has no room for more visitors at the moment, so this page runs in your browser. Your pictures stay on this device.";

window.pageStarted = true; // support.js asks
const config = JSON.parse(document.getElementById("config").textContent);
const part = (name) => document.querySelector(`.icon-${name}`);
const content = (name) => part(name).querySelector(".widget-html-content");

let photos = []; // the images on the page: name, address of a thumbnail, problem, prediction, sentence, and its place in the page
let coming = 0; // the number of images that were chosen
let heatmaps = false; // whether they are shown

// The model

let model; // a promise that it is loaded; null if that failed

const engine = window.unsupported ? null : new Engine(config, showProgress);

function showProgress(share) {
  part("loading").querySelector("progress").value = share;
}

async function load() {
  part("loading").hidden = false;
  model = engine.load();
  try {
    await model;
  } catch (error) {
    model = null;
    say(error.expected ? error.message : NOT_LOADED);
  }
  part("loading").hidden = true;
}

// Receive images

const upload = new Model({ max_images: 20, said: "", examples: Object.entries(config.examples).map(example) }, receive);
const button = new Model({ description: "Classify Icon" }, classify);
const predictions = new Model({ rows: [] });

function receive(message, buffers) {
  if ("begin" in message) return begin(message.begin);
  return "name" in message ? take(message.name, buffers[0]) : say(NO_FILE);
}

function example([name, base64]) {
  return { name, content: Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)) };
}

/** Remove the images and their predictions; `number` new ones were chosen. */
function begin(number) {
  part("predictions").replaceChildren();
  for (const each of photos) URL.revokeObjectURL(each.address);
  photos = [];
  coming = Math.min(number, upload.get("max_images"));
  predictions.set("rows", []);
  showHeatmapSwitch(false);
  const left = number - coming;
  say(left ? `This page takes ${coming} pictures at a time; ${left} were left out.` : "");
}

/** Add an image: its name, and its bytes if they could be read. */
async function take(name, bytes) {
  const mine = photos;
  const photo = { name, problem: "", address: "", place: document.createElement("div") };
  try {
    if (!engine) throw new Error(window.unsupported);
    if (!bytes) throw new Error(UNREADABLE);
    photo.prepared = await engine.ask("prepare", { file: new Blob([bytes]), thumbnail: true });
  } catch (error) {
    photo.problem = error.message;
  }
  if (mine !== photos) return; // others were chosen meanwhile
  photo.address = URL.createObjectURL(photo.prepared?.thumbnail ?? new Blob());
  photos.push(photo);
  if (photos.length === coming) button.emit("msg:custom", { do: "focus" }); // so that Enter classifies
  part("predictions").append(photo.place);
  draw(photo);
  if (photos.length < coming) return;
  const problems = photos.map((each) => each.problem).filter(Boolean);
  const good = photos.length - problems.length;
  speak([...problems, ...(good ? [`${good === 1 ? "1 picture" : `${good} pictures`} to classify.`] : [])].join(" "));
}

const draw = async (photo) => {
  const shown = heatmaps && photo.prediction?.heatmap ? await overlay(photo.prepared.thumbnail, photo.prediction, photo.prepared.size) : photo.address;
  photo.place.innerHTML = figure({ ...photo, address: shown });
};

// Show predictions

async function classify() {
  if (!engine || !photos.length) return say(window.unsupported ?? NOTHING_CHOSEN);
  const mine = photos;
  const waiting = mine.filter((each) => each.prepared && !each.prediction && !each.asked);
  for (const each of waiting) each.asked = true; // a second press does not repeat the work
  if (!model) load();
  try {
    await model;
    for (const [i, each] of waiting.entries()) {
      if (mine !== photos) return;
      busy(`Classifying picture ${i + 1} of ${waiting.length} …`);
      await predict(each);
    }
  } catch {
    for (const each of waiting) each.asked = false;
    return; // `load` has said why
  }
  if (waiting.length && mine === photos) conclude();
}

async function predict(photo) {
  photo.problem = "";
  try {
    const { size, rgb } = photo.prepared;
    photo.prediction = await engine.ask("predict", { size, rgb, heatmap: true });
    photo.sentence = inASentence(photo.prediction, config);
  } catch (error) {
    photo.problem = error.message;
    photo.asked = false;
  }
  await draw(photo);
}

/** Show what concerns all images: the table, and the switch of the heatmaps. */
function conclude() {
  const several = photos.length > 1;
  predictions.set("rows", several ? photos.map(row) : []);
  content("note").replaceChildren();
  const words = (each) => each.problem || each.sentence;
  speak(photos.map((each) => (several ? `${each.name}: ${words(each)}` : words(each))).join(" "));
  showHeatmapSwitch(photos.some((each) => each.prediction?.heatmap));
}

function showHeatmapSwitch(shown) {
  part("look").hidden = !shown;
  if (!shown) heatmaps = part("look").querySelector("input").checked = false;
}

// Messages

/** Let screen readers read `words` aloud. */
function speak(words) {
  upload.set("said", words);
}

/** Show plain text on the page and let screen readers read it aloud. */
function say(words) {
  speak(""); // otherwise the same text would not be read aloud a second time
  speak(words);
  content("note").textContent = words;
}

function busy(words) {
  content("note").innerHTML = `<span class="icon-busy">${escape(words)}</span>`;
}

uploadWidget.render({ model: upload, el: part("upload"), reduce: (file) => file }); // nothing is sent, so nothing is made smaller
buttonWidget.render({ model: button, el: part("button") });
tableWidget.render({ model: predictions, el: part("table") });
part("look").onchange = ({ target }) => {
  heatmaps = target.checked;
  for (const each of photos) if (each.prediction?.heatmap) draw(each);
};
if (window.unsupported) say(window.unsupported);
else load();
if (location.search === "?full") say(FULL);
if (config.worker && location.protocol.startsWith("http")) navigator.serviceWorker?.register("service_worker.js");
