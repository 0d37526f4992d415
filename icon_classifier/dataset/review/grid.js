// The browser's part of the review (grid.py): show a page of photos, and send decisions about them to the kernel.

const RESPONSE_TIMEOUT = 8000; // ms, after which it is said that the kernel does not respond
const KEYS = { k: "keep", a: "approve", x: "exclude" };
const NO_RESPONSE =
  "The kernel does not respond, so your last decision may not be saved. If it is busy, wait. Otherwise load the page " +
  "again, or run the cell again.";

class Review {
  selection = new Selection();
  shownView = 0; // the id of the view whose photos are shown
  focusNext = false; // whether the current photo gets the focus when its page is shown
  timer = null; // of a request without a response

  constructor(model, el) {
    this.model = model;
    this.labels = model.get("labels");
    this.words = model.get("words");
    this.pages = new Pages(model.get("page_size"));
    this.bar = filters(model, (message) => this.request(message));
    this.parts = layout(el, this, this.bar);
    this.setRanging(false);
  }

  get rows() {
    return [...this.parts.grid.querySelectorAll("[role=row]")];
  }

  row(position) {
    return this.rows.find((row) => row.position === position);
  }

  card(item, position) {
    const { labels, words } = this;
    return card(item, position, { labels, words, decide: (...what) => this.decide(...what) });
  }

  // Pages

  /** Turn to a page and its photo at `position`; without one, to its first. */
  turn(page, { focus = false, position, extend } = {}) {
    const { pages } = this;
    pages.turn(page);
    this.selection.move(position ?? pages.first, extend);
    this.focusNext ||= focus;
    if (pages.items) return this.show();
    this.parts.grid.setAttribute("aria-busy", "true");
    this.request({ page: pages.page, view: pages.view });
  }

  show() {
    const { pages } = this;
    const { grid, empty, previous, next } = this.parts;
    const focus = this.focusNext || grid.contains(document.activeElement);
    this.shownView = pages.view;
    this.focusNext = false;
    grid.removeAttribute("aria-busy");
    grid.setAttribute("aria-rowcount", pages.total);
    grid.replaceChildren(...pages.items.map((item, i) => this.card(item, pages.first + i)));
    grid.hidden = !pages.total;
    empty.hidden = !grid.hidden;
    previous.disabled = pages.page === 0;
    next.disabled = pages.page === pages.last;
    this.mark();
    if (focus) this.row(this.selection.at)?.focus();
    const after = pages.page + 1;
    if (after <= pages.last && !pages.has(after)) this.model.send({ page: after, view: pages.view }); // to have it soon
  }

  showAll() {
    this.focusNext = true; // because the button disappears
    this.request({ all: true });
  }

  // The selection

  /** Show what is selected, and let the Tab key reach only the current photo and its buttons. */
  mark() {
    const { selection, pages } = this;
    for (const row of this.rows) {
      row.setAttribute("aria-selected", selection.has(row.position));
      for (const each of [row, ...row.querySelectorAll("button, summary")])
        each.tabIndex = row.position === selection.at ? 0 : -1;
    }
    const number = selection.last - selection.first + 1;
    const selected = number > 1 ? `; ${number} photos selected` : "";
    this.parts.where.textContent = `Page ${pages.page + 1} of ${pages.last + 1}${selected}`;
  }

  setRanging(on) {
    this.selection.setRanging(on);
    this.parts.range.setAttribute("aria-pressed", on);
    this.mark();
  }

  pick(position, extend) {
    this.selection.move(position, extend);
    this.selection.starting = false;
    this.mark();
  }

  /** Go to a photo of the view, perhaps on another page. */
  go(to, extend) {
    const position = clamped(to, this.pages.total - 1);
    const page = Math.floor(position / this.pages.size);
    this.selection.starting = false; // the selection begins at the current photo
    if (page !== this.pages.page) return this.turn(page, { focus: true, position, extend });
    this.pick(position, extend);
    this.row(position)?.focus();
  }

  focused({ target }) {
    const { selection, pages } = this;
    const row = target.closest("[role=row]");
    if (!row || !pages.items || row.position === selection.at) return;
    if (target !== row && selection.has(row.position)) return; // a button that decides about the whole selection
    this.pick(row.position);
  }

  clicked(event) {
    const row = event.target.closest("[role=row]");
    if (!row || !this.pages.items || event.target.closest("button, summary")) return;
    if (event.type === "click") return this.pick(row.position, event.shiftKey);
    if (!event.shiftKey) return;
    event.preventDefault(); // the focus would begin a new selection, and the text between would be marked
    this.go(row.position, true);
  }

  // Decisions

  /** Send a message to the kernel that it responds to. */
  request(message) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.parts.said.textContent = NO_RESPONSE), RESPONSE_TIMEOUT);
    this.model.send(message);
  }

  responded() {
    clearTimeout(this.timer);
    const { said } = this.parts;
    if (said.textContent === NO_RESPONSE) said.textContent = "";
  }

  /** Decide about the selection, or about the photo alone if it is not selected. Return the last position. */
  decide(position, decision, label) {
    const { first, last } = this.selection.has(position) ? this.selection : { first: position, last: position };
    this.request({ decide: decision, label, first, last, view: this.shownView });
    this.setRanging(false);
    return last;
  }

  change(items) {
    const focused = document.activeElement?.closest("[role=row]");
    let refocus = null;
    for (const [key, change] of Object.entries(items)) {
      const item = this.pages.change(Number(key), change);
      const row = item && this.row(Number(key));
      if (!row) continue;
      const fresh = this.card(item, row.position);
      row.replaceWith(fresh);
      if (row === focused) refocus = fresh;
    }
    this.mark();
    refocus?.focus({ preventScroll: true });
  }

  // Keys

  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, textarea")) return;
    event.stopPropagation(); // the notebook has keys of its own
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (this.act(key, event)) event.preventDefault();
  }

  /** Do what a key asks for; return whether it asks for something. */
  act(key, { target, shiftKey, repeat }) {
    const row = target.closest("[role=row]");
    if (key === "u") {
      if (!repeat) this.request({ undo: true });
      return true;
    }
    if (!row || !this.pages.items) return false; // never decide about a photo that is not shown
    if (key === "Escape") {
      this.setRanging(false);
      return true;
    }
    const { at } = this.selection;
    const step = this.steps[key];
    const decision = this.decisionOf(key, target === row);
    if (step !== undefined) this.go(at + step, shiftKey);
    else if (decision && !repeat) this.go(this.decide(at, ...decision) + 1); // a key that is held decides once
    return step !== undefined || decision !== undefined;
  }

  /** {a key: how far it goes from the current photo} */
  get steps() {
    const { rows } = this;
    const { size, first } = this.pages;
    const { at } = this.selection;
    const columns = rows.filter((row) => row.offsetTop === rows[0].offsetTop).length;
    return {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: size, PageUp: -size,
      Home: first - at, End: first + rows.length - 1 - at,
    };
  }

  decisionOf(key, onRow) {
    if (KEYS[key]) return [KEYS[key]];
    const label = /^[0-9]$/.test(key) ? this.labels[(Number(key) + 9) % 10] : undefined;
    if (label !== undefined) return ["relabel", label];
    if (key === "Enter" && onRow) return suggestion(this.pages.items[this.selection.at - this.pages.first]);
  }

  // What the kernel says

  receive(message, buffers) {
    const waiting = !this.pages.items;
    if (waiting || message.changed) this.responded(); // else it is a page that was requested ahead of time
    if (message.changed) return this.change(message.changed);
    this.pages.receive(message, buffers);
    if (waiting && this.pages.items) this.show();
  }

  update() {
    const status = this.model.get("status");
    const { summary, said, only, title } = this.parts;
    const counts = Object.entries(status.counts).map(([decision, number]) => `${number} ${decision}`);
    this.responded();
    summary.textContent = [`${status.decided} of ${status.photos} photos decided`, ...counts].join(" · ");
    said.textContent = status.said;
    only.hidden = !status.title;
    title.textContent = status.title;
    this.bar.show(status.filters);
    if (status.view === this.pages.view) return;
    this.pages.open(status);
    this.setRanging(false);
    this.turn(0);
  }
}

function render({ model, el }) {
  el.classList.add("icon-review");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would cut a cell at X
  const review = new Review(model, el);
  const { grid } = review.parts;
  const receive = (message, buffers) => review.receive(message, buffers);
  const update = () => review.update();
  el.addEventListener("keydown", (event) => review.keyed(event));
  grid.addEventListener("focusin", (event) => review.focused(event));
  for (const type of ["mousedown", "click"]) grid.addEventListener(type, (event) => review.clicked(event));
  model.on("msg:custom", receive);
  model.on("change:status", update);
  update();
  return () => {
    review.pages.clear();
    review.responded();
    model.off("msg:custom", receive);
    model.off("change:status", update);
  };
}

export default { render };
