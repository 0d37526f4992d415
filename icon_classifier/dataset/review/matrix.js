// The browser's part of the confusion matrix (matrix.py): a table of buttons.

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

function render({ model, el }) {
  const labels = model.get("labels");
  const counts = model.get("counts");
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  el.classList.add("icon-matrix");

  function cell(i, j) {
    const count = counts[i][j];
    const made = element("td");
    if (!count) return made;
    const about = i === j ? `${labels[i]}, predicted correctly` : `${labels[i]}, predicted as ${labels[j]}`;
    const open = element("button", { type: "button", textContent: count, title: about, onclick: () => model.send({ cell: [i, j] }) });
    open.setAttribute("aria-label", `${count} photos: ${about}`);
    if (i !== j) made.style.background = `color-mix(in srgb, var(--bad) ${Math.round((60 * count) / most)}%, var(--paper))`;
    made.append(open);
    return made;
  }

  const head = element("tr", {}, element("th", { scope: "col", textContent: "is ↓ / predicted →" }));
  head.append(...labels.map((label) => element("th", { scope: "col", textContent: label })));
  const rows = labels.map((label, i) =>
    element("tr", {}, element("th", { scope: "row", textContent: label }), ...labels.map((_, j) => cell(i, j))),
  );
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  table.setAttribute("aria-label", "Confusion matrix");
  const losses = element("button", { type: "button", textContent: "Photos with the highest losses", onclick: () => model.send({ losses: true }) });
  el.append(element("div", { className: "matrix-scroll" }, table), element("p", {}, losses));
}

export default { render };
