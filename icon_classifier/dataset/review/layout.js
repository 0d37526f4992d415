// What is around the photos of the review: filters, help, and pages.

const HELP =
  "Arrow keys: go to another photo; with Shift, select several. K: keep. X: exclude. A: approve, that is keep as a " +
  "good example of its label. A digit: give the label with this number. Enter: do what is suggested. U: undo. Page " +
  "Up and Page Down: another page.";
const EMPTY = "There is no photo here. Choose other filters to see more.";

/** Return a labelled list of choices; `changed` is called when another is chosen. */
function choices(name, options, changed) {
  const list = element("select", { onchange: changed });
  const labelled = element("label", { className: "review-filter" }, {}, `${name} `, list);
  const offer = (options) =>
    list.replaceChildren(...options.map(([value, textContent]) => element("option", { value, textContent })));
  offer(options);
  return { list, labelled, offer };
}

/** Return the elements of the filters, and a function that shows which are chosen. */
function filters(model, send) {
  const changed = () =>
    send({ filter: Object.fromEntries(Object.entries(lists).map(([name, { list }]) => [name, list.value])) });
  const all = (names) => [["", "all"], ...names.map((name) => [name, name])];
  const decisions = [["none", "not decided"], ["any", "decided"], ...Object.entries(model.get("words")), ["", "all"]];
  const lists = {
    decision: choices("Show", decisions, changed),
    label: choices("Label", all(model.get("labels")), changed),
    check: choices("Reason", [], changed),
    split: choices("Split", all(model.get("splits")), changed),
  };
  lists.split.labelled.hidden = !model.get("splits").length;
  let offered = null;
  const show = (values) => {
    const checks = Object.keys(model.get("checks"));
    if (offered !== checks.join("\n")) lists.check.offer(all(checks));
    offered = checks.join("\n");
    for (const [name, { list }] of Object.entries(lists)) list.value = values[name];
  };
  return { labelled: Object.values(lists).map((each) => each.labelled), show };
}

function help(labels) {
  const digits = labels.slice(0, 10).map((label, i) => {
    const key = element("kbd", { textContent: (i + 1) % 10 });
    return element("li", {}, {}, key, ` ${label}`);
  });
  const summary = element("summary", { textContent: "Keys" });
  return element("details", {}, {}, summary, element("p", { textContent: HELP }), element("ul", {}, {}, ...digits));
}

/** Return {the name of a part: its element}, and append them to `el`. */
function layout(el, review, bar) {
  const title = "Choose the first and the last photo";
  const parts = {
    range: button("Select several", () => review.setRanging(!review.selection.ranging), { title }),
    summary: element("p", { className: "review-summary" }),
    title: element("span"),
    said: element("p", { className: "review-said" }, { role: "status" }),
    grid: element("div", { className: "review-grid" }, {
      role: "grid", "aria-label": "Photos", "aria-multiselectable": "true",
    }),
    empty: element("p", { textContent: EMPTY, hidden: true }),
    previous: button("Previous page", () => review.turn(review.pages.page - 1, { focus: true })),
    where: element("span"),
    next: button("Next page", () => review.turn(review.pages.page + 1, { focus: true })),
  };
  const undo = button("Undo", () => review.request({ undo: true }));
  const all = button("Show all photos", () => review.showAll());
  parts.only = element("p", { className: "review-only" }, {}, parts.title, " ", all);
  el.append(
    element("div", { className: "review-bar" }, {}, ...bar.labelled, parts.range, undo, help(review.labels)),
    parts.summary, parts.only, parts.said, parts.grid, parts.empty,
    element("div", { className: "review-pages" }, { role: "group", "aria-label": "Pages" },
      parts.previous, parts.where, parts.next),
  );
  return parts;
}
