// A photo in the review, with its reasons and its buttons.

const MAX_LABEL_BUTTONS = 4; // with more labels, the buttons of a card are in a list that opens

/** Return the decision that is suggested about a photo, as [decision, label]; undefined if there is none. */
function suggestion({ suggested, other }) {
  if (suggested === "exclude") return [suggested];
  if (suggested === "relabel" && other) return [suggested, other];
}

/** Return the row of the grid that shows `item`. `decide` is called with `position`, a decision and a label. */
function card(item, position, { labels, words, decide }) {
  const className = item.decision ? "review-card review-decided" : "review-card";
  const spoken = [item.label, words[item.decision] ?? "not decided", ...item.reasons].join(". ");
  const attributes = { role: "row", "aria-rowindex": position + 1, "aria-label": spoken };
  const row = element("div", { className, position, tabIndex: -1 }, attributes);
  const cells = [photo(item), about(item, words), buttons(item, labels, (...what) => decide(position, ...what))];
  row.append(...cells.map((cell) => element("div", {}, { role: "gridcell" }, cell)));
  return row;
}

function photo(item) {
  const image = (src) => element("img", { src, alt: "", draggable: false });
  const missing = element("span", { className: "review-missing", textContent: "cannot be shown" });
  const figure = element("figure", {}, {}, item.image ? image(item.image) : missing);
  if (item.besideImage) {
    const label = element("span", { textContent: item.beside, title: item.beside });
    figure.append(element("span", { className: "review-beside" }, {}, image(item.besideImage), label));
  }
  return figure;
}

function about(item, words) {
  const label = element("b", { textContent: item.label });
  const className = `review-badge review-${item.decision || "none"}`;
  const badge = element("span", { className, textContent: words[item.decision] ?? "" });
  const split = item.split ? ` (${item.split}) ` : " ";
  const first = element("p", { className: "review-label" }, {}, label, split, badge);
  const reasons = item.reasons.map((reason) => element("p", { textContent: reason }));
  return element("div", { className: "review-about" }, {}, first, ...reasons);
}

function buttons(item, labels, decide) {
  const [suggested, suggestedLabel] = suggestion(item) ?? [];
  const made = (text, attributes, ...what) => {
    const each = button(text, () => decide(...what), attributes);
    each.classList.toggle("review-suggested", what[0] === suggested && what[1] === suggestedLabel);
    return each;
  };
  const choice = (text, decision) => made(text, { "aria-pressed": item.decision === decision }, decision);
  const relabel = (label) => {
    const each = made(label, { "aria-label": `Label ${label}` }, "relabel", label);
    each.prepend(element("span", { textContent: "→ " }, { "aria-hidden": "true" }));
    return each;
  };
  const others = labels.filter((label) => label !== item.label);
  const few = others.length <= MAX_LABEL_BUTTONS ? others : others.filter((label) => label === item.other);
  const row = element("div", { className: "review-buttons" });
  row.append(choice("Keep", "keep"), choice("Exclude", "exclude"), choice("Approve", "approve"), ...few.map(relabel));
  if (others.length > MAX_LABEL_BUTTONS) {
    // No <select>: on many systems, the first press of an arrow key in it would already relabel the photo.
    const open = () => more.childElementCount > 1 || more.append(...others.map(relabel));
    const more = element("details", { ontoggle: open }, {}, element("summary", { textContent: "Another label" }));
    row.append(more);
  }
  return row;
}
