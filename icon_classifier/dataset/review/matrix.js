// The browser's part of the confusion matrix (matrix.py): a table of buttons.

/** Return the cell for `count` photos. share: of the highest count of errors; null if the prediction is right. */
function cell(count, words, share, open) {
  const made = element("td");
  if (!count) return made;
  const spoken = `${count} ${count === 1 ? "photo" : "photos"}: ${words}`;
  if (share !== null) made.style.background = `color-mix(in srgb, var(--bad) ${Math.round(60 * share)}%, var(--paper))`;
  made.append(button(count, open, { title: words, "aria-label": spoken }));
  return made;
}

function render({ model, el }) {
  const labels = model.get("labels");
  const counts = model.get("counts");
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  const heading = (scope, textContent) => element("th", { scope, textContent });
  const cells = (row, i) =>
    row.map((count, j) => {
      const words = `${labels[i]}, predicted ${i === j ? "correctly" : `as ${labels[j]}`}`;
      return cell(count, words, i === j ? null : count / most, () => model.send({ cell: [i, j] }));
    });

  const columns = ["is ↓ / predicted →", ...labels].map((text) => heading("col", text));
  const thead = element("thead", {}, {}, element("tr", {}, {}, ...columns));
  const rows = counts.map((row, i) => element("tr", {}, {}, heading("row", labels[i]), ...cells(row, i)));
  const tbody = element("tbody", {}, {}, ...rows);
  const table = element("table", {}, { "aria-label": "Confusion matrix" }, thead, tbody);
  const losses = button("Photos with the highest losses", () => model.send({ losses: true }));
  el.classList.add("icon-matrix");
  el.append(element("div", { className: "matrix-scroll" }, {}, table), element("p", {}, {}, losses));
}

export default { render };
