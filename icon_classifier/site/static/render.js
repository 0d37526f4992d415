// Render predictions as HTML, as icon_classifier/page/render.py does: tests/browser/test_site.py compares them.

const MAX_BARS = 5; // the most probable labels get a bar; the others are counted
const CERTAINTY = [[0.95, "Almost certainly"], [0.8, "Very likely"], [0.5, "Probably"], [0, "Perhaps"]];
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };

/** Return `text` with the characters of HTML escaped. */
export const escape = (text) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]);

/** Return `number` with `digits` after the point, a tie rounded to the even digit as in Python. */
function fixed(number, digits) {
  const exact = number.toFixed(60); // of a tie, the digits after the five are zeros
  const end = exact.indexOf(".") + digits + 1;
  const tie = /^50*$/.test(exact.slice(end));
  return tie && exact[end - 1] % 2 === 0 ? exact.slice(0, end) : number.toFixed(digits);
}

const percent = (share) => `${fixed(100 * share, 1)}%`;

/** Return a prediction of the classifier as a sentence. `detectsOod`, `reason`: as in render.py, and of the model. */
export function inASentence({ label, probability, probabilities, is_ood }, { detectsOod, reason }) {
  if (is_ood) return `This is probably none of them; ${label} is only the closest label. ${reason}`;
  if (!detectsOod || is_ood === null) return `${label} is the closest of the model's ${probabilities.length} labels.`;
  return `${CERTAINTY.find(([least]) => probability >= least)[1]} ${label}.`;
}

/** Render the image at `address`, with its `problem`, or its `prediction` and the `sentence` about it. */
export function figure({ name, address, problem, prediction, sentence }) {
  const alt = problem ? "" : escape(name); // the caption of a problem contains the file name
  let words = problem ? `<p class="icon-name">${escape(name)}</p><p class="icon-problem">${escape(problem)}</p>` : "";
  if (prediction) {
    const line = `Prediction: ${prediction.label}; Probability: ${fixed(prediction.probability, 4)}`;
    words = `<p>${escape(sentence)}</p>${bars(prediction.probabilities)}<p class="icon-prediction">${escape(line)}</p>`;
  }
  const modest = prediction?.is_ood ? " icon-modest" : "";
  const image = `<div class="icon-picture"><img src="${escape(address)}" alt="${alt}"></div>`;
  return `<figure class="icon-card${modest}">${image}<figcaption>${words}</figcaption></figure>`;
}

function bars(probabilities) {
  const rows = probabilities.slice(0, MAX_BARS).map(([label, probability]) => {
    const share = percent(probability);
    return `<span>${escape(label)}</span><span class="icon-track"><i style="width:${share}"></i></span><span>${share}</span>`;
  });
  const left = probabilities.length - rows.length;
  return `<div class="icon-chart">${rows.join("")}</div>${left ? `<p>and ${left} less likely</p>` : ""}`;
}

/** Return an image's row of the table (table.js), as page.py does. */
export function row({ name, problem, prediction }) {
  if (!prediction) return [name, "", "", problem];
  return [name, prediction.label, fixed(prediction.probability, 4), prediction.is_ood ? "probably none of them" : ""];
}
