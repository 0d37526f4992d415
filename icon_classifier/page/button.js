// The browser's part of the button (button.py).

function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.onclick = () => model.send({ event: "click" });
  el.append(button);
  const describe = () => (button.textContent = model.get("description"));
  const focus = (message) => message.do === "focus" && button.focus({ preventScroll: true });
  describe();
  model.on("change:description", describe);
  model.on("msg:custom", focus);
  return () => {
    model.off("change:description", describe);
    model.off("msg:custom", focus);
  };
}

export default { render };
