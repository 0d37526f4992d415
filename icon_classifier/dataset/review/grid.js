// The browser's part of the review (grid.py): show a page of photos, and send decisions about them to the kernel.

const ANSWER_TIMEOUT = 8000; // ms, after which a decision without an answer is reported
const MAX_LABEL_BUTTONS = 4; // with more labels, a card has a list of them in place of buttons
const KEYS = { k: "keep", a: "approve", x: "exclude" };
const IN_WORDS = { keep: "kept", approve: "approved", exclude: "excluded", relabel: "relabelled" };
const HELP =
  "Arrow keys: go to another photo; with Shift, select several. K: keep. X: exclude. A: approve, that is keep as a good " +
  "example of its label. A digit: give the label with this number. Enter: do what is suggested. U: undo. Page Up and " +
  "Page Down: another page.";

/** Return a new element with `properties`, `attributes` and children. */
function element(tag, properties = {}, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const button = (textContent, onclick, attributes) => element("button", { type: "button", textContent, onclick }, attributes);

/** Return a labelled list of choices; `changed` is called with the value that is chosen. */
function choices(name, options, changed) {
  const list = element("select", { onchange: () => changed(list.value) });
  list.append(...options.map(([value, textContent]) => element("option", { value, textContent })));
  return { list, labelled: element("label", { className: "review-filter" }, {}, `${name} `, list) };
}

/** Return the filters, and a function that shows which are chosen. */
function filters(model, send) {
  const chosen = () => Object.fromEntries(Object.entries(lists).map(([name, each]) => [name, each.list.value]));
  const changed = () => send({ filter: chosen() });
  const all = (names) => [["", "all"], ...names.map((name) => [name, name])];
  const decisions = [["none", "not decided"], ["any", "decided"], ...Object.entries(IN_WORDS), ["", "all"]];
  const lists = {
    decision: choices("Show", decisions, changed),
    label: choices("Label", all(model.get("labels")), changed),
    check: choices("Reason", all(Object.keys(model.get("checks"))), changed),
    split: choices("Split", all(model.get("splits")), changed),
  };
  lists.split.labelled.hidden = !model.get("splits").length;
  const show = (values) => {
    const checks = Object.keys(model.get("checks"));
    if (lists.check.list.options.length !== checks.length + 1)
      lists.check.list.replaceChildren(...all(checks).map(([value, textContent]) => element("option", { value, textContent })));
    for (const [name, each] of Object.entries(lists)) each.list.value = values[name];
  };
  return { row: Object.values(lists).map((each) => each.labelled), show };
}

function render({ model, el }) {
  const send = (message) => model.send({ ...message, view: model.get("status").view });
  const labels = model.get("labels");
  const size = model.get("page_size");
  const pages = new Map(); // page -> its items; the present one and its neighbours
  let view = 0; // the id of the view that is shown
  let page = 0;
  let at = 0; // the position of the current photo in the view
  let anchor = 0; // the other end of the selection
  let startsRange = false; // whether the next photo is the first of a selection
  let focusWhenShown = false;
  let waiting = null; // the timer of a decision that was not answered yet

  el.classList.add("icon-review");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would cut a cell at X
  const bar = filters(model, send);
  const summary = element("p", { className: "review-summary" });
  const only = element("p", { className: "review-only", hidden: true });
  const range = button("Select several", () => setRange(range.ariaPressed !== "true"), { "aria-pressed": "false", title: "Choose the first and the last photo" });
  const undo = button("Undo", () => decide({ undo: true }));
  const help = element("details", {}, {}, element("summary", { textContent: "Keys" }), element("p", { textContent: HELP }));
  if (labels.length < 11) {
    const digits = labels.map((label, number) => element("li", {}, {}, element("kbd", { textContent: (number + 1) % 10 }), ` ${label}`));
    help.append(element("ul", {}, {}, ...digits));
  }
  const grid = element("div", { className: "review-grid" }, { role: "grid", "aria-label": "Photos", "aria-multiselectable": "true" });
  const previous = button("Previous page", () => turn(page - 1));
  const next = button("Next page", () => turn(page + 1));
  const where = element("span");
  const said = element("p", { className: "review-said" }, { role: "status" });
  el.append(
    element("div", { className: "review-bar" }, {}, ...bar.row, range, undo, help),
    summary,
    only,
    said,
    grid,
    element("nav", { className: "review-pages" }, { "aria-label": "Pages" }, previous, where, next),
  );

  // Pages

  const total = () => model.get("status").total;
  const last = () => Math.max(0, Math.ceil(total() / size) - 1);
  const selected = () => [Math.min(at, anchor), Math.max(at, anchor)];

  function forget(number) {
    for (const item of pages.get(number) ?? []) [item.image, item.besideImage].forEach((url) => url && URL.revokeObjectURL(url));
    pages.delete(number);
  }

  function turn(number, position = number * size) {
    page = Math.min(Math.max(0, number), last());
    at = anchor = Math.min(position, Math.max(0, total() - 1));
    for (const each of [...pages.keys()]) if (Math.abs(each - page) > 1) forget(each);
    if (pages.has(page)) show();
    else {
      grid.setAttribute("aria-busy", "true");
      send({ page });
    }
  }

  function receive(message, buffers) {
    if ("changed" in message) return change(message.changed);
    if (message.view !== view || pages.has(message.page)) return;
    const images = new Map(message.sent.map((number, i) => [number, URL.createObjectURL(new Blob([buffers[i]], { type: "image/jpeg" }))]));
    message.items.forEach((item, i) => {
      item.image = images.get(2 * i);
      item.besideImage = images.get(2 * i + 1);
    });
    pages.set(message.page, message.items);
    if (message.page === page) show();
  }

  function show() {
    const first = page * size;
    grid.removeAttribute("aria-busy");
    grid.setAttribute("aria-rowcount", total());
    grid.replaceChildren(...pages.get(page).map((item, i) => card(item, first + i)));
    if (!total()) grid.append(element("p", { textContent: "There is no photo here. Choose other filters to see more." }));
    where.textContent = `Page ${page + 1} of ${last() + 1}`;
    previous.disabled = page === 0;
    next.disabled = page === last();
    mark();
    if (focusWhenShown) rows()[at - first]?.focus();
    focusWhenShown = false;
    if (page < last() && !pages.has(page + 1)) send({ page: page + 1 }); // so that it is there at once
  }

  const rows = () => [...grid.querySelectorAll("[role=row]")];

  function card(item, position) {
    const row = element("div", { className: "review-card" }, { role: "row", "aria-rowindex": position + 1 });
    row.position = position;
    row.addEventListener("focusin", () => (position !== at || startsRange) && select(position, range.ariaPressed === "true"));
    row.addEventListener("click", (event) => event.target.closest("button, select") || select(position, event.shiftKey || range.ariaPressed === "true"));
    const photo = element("figure", {}, {});
    photo.append(picture(item.image, "cannot be shown"));
    if (item.besideImage) photo.append(element("span", { className: "review-beside" }, {}, picture(item.besideImage), element("span", { textContent: item.beside, title: item.beside })));
    const about = element("div", { className: "review-about" });
    about.append(element("p", { className: "review-label" }, {}, element("b", { textContent: item.label }), ...(item.split ? [` (${item.split})`] : []), " ", badge(item)));
    about.append(...item.reasons.map((reason) => element("p", { textContent: reason.replaceAll(" %", "\u00a0%") })));
    const cells = [photo, about, buttons(item, position)];
    row.append(...cells.map((each) => element("div", {}, { role: "gridcell" }, each)));
    row.setAttribute("aria-label", [item.label, IN_WORDS[item.decision] ?? "not decided", ...item.reasons].join(". "));
    row.classList.toggle("review-decided", item.decision !== "");
    return row;
  }

  const picture = (src, missing) => (src ? element("img", { src, alt: "", draggable: false }) : element("span", { className: "review-missing", textContent: missing ?? "" }));
  const badge = (item) => element("span", { className: `review-badge review-${item.decision || "none"}`, textContent: IN_WORDS[item.decision] ?? "" });

  function buttons(item, position) {
    const about = (decision, label) => () => decideAt(position, decision, label);
    const made = element("div", { className: "review-buttons" });
    const name = (text, decision, label) => {
      const pressed = item.decision === decision && (decision !== "relabel" || item.label === label);
      return button(text, about(decision, label), { "aria-pressed": String(pressed), tabindex: "-1" });
    };
    made.append(name("Keep", "keep"), name("Exclude", "exclude"), name("Approve", "approve"));
    const others = labels.filter((label) => label !== item.label);
    if (item.suggested) [...made.children].forEach((each) => each.classList.toggle("review-suggested", each.textContent.toLowerCase() === item.suggested));
    const shown = others.length <= MAX_LABEL_BUTTONS ? others : others.filter((label) => label === item.other);
    for (const label of shown) {
      const relabel = name(label, "relabel", label);
      relabel.setAttribute("aria-label", `Label ${label}`);
      relabel.prepend(element("span", { textContent: "→ " }, { "aria-hidden": "true" }));
      if (item.suggested === "relabel" && item.other === label) relabel.classList.add("review-suggested");
      made.append(relabel);
    }
    if (others.length > MAX_LABEL_BUTTONS) {
      const list = element("select", { onchange: () => list.value && about("relabel", list.value)() }, { "aria-label": "Another label", tabindex: "-1" });
      list.append(element("option", { value: "", textContent: "→ another label" }), ...others.map((value) => element("option", { value, textContent: value })));
      made.append(list);
    }
    return made;
  }

  /** Show what is selected, and let the Tab key reach only the current photo and its buttons. */
  function mark() {
    const [from, to] = selected();
    for (const row of rows()) {
      const current = row.position === at;
      row.tabIndex = current ? 0 : -1;
      row.setAttribute("aria-selected", String(row.position >= from && row.position <= to));
      for (const each of row.querySelectorAll("button, select")) each.tabIndex = current ? 0 : -1;
    }
    const number = to - from + 1;
    where.textContent = `Page ${page + 1} of ${last() + 1}${number > 1 ? `; ${number} photos selected` : ""}`;
  }

  function setRange(on) {
    range.ariaPressed = String(on);
    startsRange = on;
    if (!on) select(at, false);
  }

  function select(position, extend) {
    at = position;
    if (!extend || startsRange) anchor = position;
    startsRange = false;
    mark();
  }

  /** Go to a photo of the view, perhaps on another page. */
  function go(position, extend) {
    position = Math.min(Math.max(0, position), total() - 1);
    const kept = anchor;
    if (Math.floor(position / size) !== page) {
      focusWhenShown = true;
      turn(Math.floor(position / size), position);
      if (extend) anchor = kept;
      mark();
    } else {
      select(position, extend);
      rows()[position - page * size]?.focus();
    }
  }

  // Decisions

  function decide(message) {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      said.textContent = "The kernel does not answer, so this decision may not be saved. Load the page again, or run the cell again.";
    }, ANSWER_TIMEOUT);
    send(message);
  }

  /** Decide about the selection, if the photo is in it, or else about the photo alone. */
  function decideAt(position, decision, label) {
    const [from, to] = selected();
    const [first, end] = position >= from && position <= to ? [from, to] : [position, position];
    decide({ decide: decision, label, first, last: end });
    setRange(false);
    return end;
  }

  function change(items) {
    clearTimeout(waiting);
    for (const [key, item] of Object.entries(items)) {
      const position = Number(key);
      const shown = pages.get(Math.floor(position / size));
      if (!shown) continue;
      const i = position % size;
      shown[i] = { ...shown[i], ...item };
      const row = rows().find((each) => each.position === position);
      if (!row) continue;
      const focused = row.contains(document.activeElement);
      const fresh = card(shown[i], position);
      row.replaceWith(fresh);
      mark();
      if (focused) fresh.focus({ preventScroll: true });
    }
  }

  function suggestion(item) {
    if (item.suggested === "relabel" && item.other) return ["relabel", item.other];
    return item.suggested === "exclude" ? ["exclude"] : null;
  }

  function keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, textarea")) return;
    const inGrid = event.target.closest("[role=row]");
    const columns = rows().filter((row) => row.offsetTop === rows()[0].offsetTop).length;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: size, PageUp: -size };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    let done = true;
    if (key === "u") decide({ undo: true });
    else if (!inGrid || grid.ariaBusy === "true") done = false; // never decide about a photo that is not shown
    else if (key in moves) go(at + moves[key], event.shiftKey);
    else if (key === "Home" || key === "End") go(key === "Home" ? page * size : page * size + rows().length - 1, event.shiftKey);
    else if (key === "Escape") select(at, false);
    else if (event.repeat) done = key in KEYS; // a key that is held decides once
    else if (key in KEYS) go(decideAt(at, KEYS[key]) + 1);
    else if (/^[0-9]$/.test(key) && labels[(Number(key) + 9) % 10] !== undefined) go(decideAt(at, "relabel", labels[(Number(key) + 9) % 10]) + 1);
    else if (key === "Enter" && event.target === inGrid && suggestion(pages.get(page)[at - page * size])) {
      go(decideAt(at, ...suggestion(pages.get(page)[at - page * size])) + 1);
    } else done = false;
    if (done) event.preventDefault();
    event.stopPropagation(); // the notebook has keys of its own
  }
  el.addEventListener("keydown", keyed);

  // What the kernel says

  function update() {
    const status = model.get("status");
    clearTimeout(waiting);
    const counts = Object.entries(status.counts).map(([decision, number]) => `${number} ${decision}`);
    summary.textContent = [`${status.decided} of ${status.photos} photos decided`, ...counts].join(" · ");
    said.textContent = status.said;
    only.hidden = !status.title;
    only.replaceChildren(`${status.total} photos: ${status.title} `, button("Show all photos", () => send({ all: true })));
    bar.show(status.filters);
    if (status.view === view) return;
    view = status.view;
    [...pages.keys()].forEach(forget);
    turn(0);
  }

  model.on("msg:custom", receive);
  model.on("change:status", update);
  update();
  return () => {
    [...pages.keys()].forEach(forget);
    clearTimeout(waiting);
    model.off("msg:custom", receive);
    model.off("change:status", update);
  };
}

export default { render };
