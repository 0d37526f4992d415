// The page without a server: what icon_classifier/page/page.py does in a kernel.
import { Engine } from "./engine.js";
import { keep, standsIn } from "./host.js";
import { overlay } from "./overlay.js";
import { escape, figure, inASentence, row } from "./render.js";
import buttonWidget from "./button.js";
import tableWidget from "./table.js";
import uploadWidget from "./upload.js";
import { Model } from "./widget.js";

const NOTHING_CHOSEN = "Choose a picture first, then press the button.";
const NO_FILE = "That contained no picture file. Save the picture first, then choose the file or drop it here.";
const NOT_LOADED = "The model could not be loaded. Check the connection, then press the button to try again.";
const FULL =
  "The server has no room for more visitors at the moment, so this page runs in your browser. " +
  "Your pictures stay on this device.";
const LOADING = "The model is still loading. The prediction follows.";
const LOADED = "The model is loaded.";

window.pageStarted = true; // support.js asks
const config = JSON.parse(document.getElementById("config").textContent);
const part = (name) => document.querySelector(`.icon-${name}`);
const content = (name) => part(name).querySelector(".widget-html-content");

// The images on the page: name, address of a thumbnail, problem, prediction, sentence, place in the page, and how often
// they were drawn.
let photos = [];
let coming = 0; // the number of images that were chosen
let arrived = Promise.resolve(); // a promise that all of them are in `photos`, or that others were chosen
let arrive = () => {}; // keeps it
let heatmaps = false; // whether they are shown

// The model

let model; // a promise that it is loaded; null if that failed
let isLoaded = false;

const engine = window.unsupported ? null : new Engine(config, showProgress);

function showProgress(share) {
  part("loading").querySelector("progress").value = share;
}

async function load() {
  part("loading").hidden = false;
  model = engine.load();
  try {
    await model;
    isLoaded = true;
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
  if ("sent" in message) return; // nothing is lost between two parts of a page
  return "name" in message ? take(message.name, buffers[0]) : say(NO_FILE); // here the buffer is a File
}

function example([name, base64]) {
  return { name, content: Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)) };
}

/** Remove the images and their predictions; `number` new ones were chosen. */
function begin(number) {
  part("predictions").replaceChildren();
  for (const each of photos) URL.revokeObjectURL(each.address);
  arrive(); // so that nothing waits for the images of before
  photos = [];
  arrived = new Promise((done) => (arrive = done));
  coming = Math.min(number, upload.get("max_images"));
  predictions.set("rows", []);
  showHeatmapSwitch(false);
  const left = number - coming;
  say(left ? `This page takes ${coming} pictures at a time; ${left} were left out.` : "");
}

/** Add the image in a File. */
async function take(name, file) {
  const mine = photos;
  const photo = { name, problem: "", address: "", place: document.createElement("div"), drawn: 0 };
  try {
    if (!engine) throw new Error(window.unsupported);
    photo.prepared = await engine.ask("prepare", { file, thumbnail: true });
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
  arrive();
  const problems = photos.map((each) => each.problem).filter(Boolean);
  const good = photos.length - problems.length;
  speak([...problems, ...(good ? [`${good === 1 ? "1 picture" : `${good} pictures`} to classify.`] : [])].join(" "));
}

/** Show an image with its problem or prediction, or with its heatmap. */
async function draw(photo) {
  const turn = ++photo.drawn;
  let { address } = photo;
  const { prepared, prediction } = photo;
  if (heatmaps && prediction?.heatmap) {
    address = await overlay(prepared.thumbnail, prediction, prepared.size).catch((error) => {
      console.warn(error);
      return address; // the photo itself
    });
  }
  if (turn === photo.drawn) photo.place.innerHTML = figure({ ...photo, address }); // else the switch was used meanwhile
}

// Show predictions

async function classify() {
  if (!engine || !coming) return say(window.unsupported ?? NOTHING_CHOSEN);
  const mine = photos;
  await arrived;
  if (mine !== photos) return;
  const waiting = mine.filter((each) => each.prepared && !each.prediction && !each.asked);
  for (const each of waiting) each.asked = true; // a second press does not repeat the work
  if (!waiting.length) return;
  if (!(await hasModel())) {
    for (const each of waiting) each.asked = false;
    return;
  }
  for (const [i, each] of waiting.entries()) {
    if (mine !== photos) return;
    busy(`Classifying picture ${i + 1} of ${waiting.length} …`);
    await predict(each);
  }
  if (mine === photos) conclude();
}

/** Wait for the model, and let screen readers say so; return whether it is there. `load` says why it is not. */
async function hasModel() {
  if (isLoaded) return true;
  speak(LOADING);
  if (!model) load();
  try {
    await model;
  } catch {
    return false;
  }
  speak(LOADED);
  return true;
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

const packed = async (file) => [file, file]; // nothing is sent, so nothing is read here or made smaller
uploadWidget.render({ model: upload, el: part("upload"), packed });
buttonWidget.render({ model: button, el: part("button") });
tableWidget.render({ model: predictions, el: part("table") });
part("look").onchange = ({ target }) => {
  heatmaps = target.checked;
  for (const each of photos) if (each.prediction?.heatmap) draw(each);
};

if (window.unsupported) say(window.unsupported);
else load();
if (standsIn(part("private")) && !window.unsupported) say(FULL);
if (config.worker && location.protocol.startsWith("http")) keep();
