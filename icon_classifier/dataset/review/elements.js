// What the widgets of the review share. The files of a widget are joined (scripts.py).

/** Return a new element with `properties`, `attributes` and children. */
function element(tag, properties = {}, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const button = (textContent, onclick, attributes) =>
  element("button", { type: "button", textContent, onclick }, attributes);
