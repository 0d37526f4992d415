// The browser's part of the table of predictions (table.py).

const COLUMNS = ["Picture", "Prediction", "Probability", "Remark"];

/** Return a new element with `properties`. */
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Return a table of `rows`, arrays of texts. */
function table(rows) {
  const table = element("table", {});
  const head = table.createTHead().insertRow();
  for (const textContent of COLUMNS) head.append(element("th", { scope: "col", textContent }));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) line.insertCell().textContent = text;
  }
  return table;
}

function render({ model, el }) {
  const show = () => {
    el.replaceChildren();
    const rows = model.get("rows");
    if (!rows.length) return;
    const shown = table(rows);
    const copy = element("button", { type: "button", className: "icon-copy", textContent: "Copy the table" });
    const said = element("p", { className: "icon-said" });
    said.setAttribute("aria-live", "polite"); // screen readers read it aloud when it changes
    copy.onclick = () => {
      getSelection().selectAllChildren(shown);
      const copied = document.execCommand("copy"); // as a table for spreadsheets; writeText would copy plain text
      said.textContent = copy.textContent = copied ? "Copied" : "Selected: now copy it";
    };
    const scrolled = element("div", { className: "icon-rows", tabIndex: 0 }); // wider than a phone
    scrolled.setAttribute("role", "region");
    scrolled.setAttribute("aria-label", "Table of predictions");
    scrolled.append(shown);
    el.append(copy, said, scrolled);
  };
  show();
  model.on("change:rows", show);
  return () => model.off("change:rows", show);
}

export default { render };
