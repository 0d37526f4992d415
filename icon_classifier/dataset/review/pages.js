// Which photos of the review are selected, and the pages that are kept in the browser.

const clamped = (value, most) => Math.min(Math.max(0, value), Math.max(0, most));

/** The photos that a decision is about: those between `anchor` and `at`, which is the current one. */
class Selection {
  at = 0;
  anchor = 0;
  ranging = false; // "Select several" is on: the next photos extend the selection
  starting = false; // "Select several" is on, and the next photo begins the selection

  get first() {
    return Math.min(this.at, this.anchor);
  }

  get last() {
    return Math.max(this.at, this.anchor);
  }

  has(position) {
    return position >= this.first && position <= this.last;
  }

  move(position, extend) {
    this.at = position;
    if (this.starting || !(extend || this.ranging)) this.anchor = position;
  }

  setRanging(on) {
    this.ranging = this.starting = on;
    if (!on) this.anchor = this.at;
  }
}

/** The pages of a view. The current page and its neighbours are kept. */
class Pages {
  view = 0; // the id of the view
  page = 0; // the number of the current page
  total = 0; // photos in the view
  #kept = new Map(); // {page: its items}

  constructor(size) {
    this.size = size; // photos per page
  }

  /** The items of the current page; undefined until they have come. */
  get items() {
    return this.#kept.get(this.page);
  }

  get first() {
    return this.page * this.size;
  }

  get last() {
    return clamped(Math.ceil(this.total / this.size) - 1, Infinity); // the number of the last page
  }

  has(page) {
    return this.#kept.has(page);
  }

  open({ view, total }) {
    this.clear();
    Object.assign(this, { view, total, page: 0 });
  }

  turn(page) {
    this.page = clamped(page, this.last);
    for (const each of this.#kept.keys()) if (Math.abs(each - this.page) > 1) this.#forget(each);
  }

  receive({ view, page, items, sent }, buffers) {
    if (view !== this.view || this.has(page)) return;
    const url = (i) => URL.createObjectURL(new Blob([buffers[i]], { type: "image/jpeg" }));
    const urls = new Map(sent.map((number, i) => [number, url(i)]));
    const kept = items.map((item, i) => ({ ...item, image: urls.get(2 * i), besideImage: urls.get(2 * i + 1) }));
    this.#kept.set(page, kept);
  }

  /** Change the item at `position` and return it; return undefined if its page is not kept. */
  change(position, item) {
    const items = this.#kept.get(Math.floor(position / this.size));
    return items && Object.assign(items[position % this.size], item);
  }

  #forget(page) {
    for (const { image, besideImage } of this.#kept.get(page))
      for (const url of [image, besideImage]) if (url) URL.revokeObjectURL(url);
    this.#kept.delete(page);
  }

  clear() {
    for (const page of this.#kept.keys()) this.#forget(page);
  }
}
