// What a widget's `render` (upload.js, button.js, table.js) gets from anywidget, here without a kernel.

export class Model {
  #state;
  #listeners = {};

  /** `receive` is called with each message that the widget sends, and its buffers. */
  constructor(state, receive = () => {}) {
    this.#state = state;
    this.send = (message, _callbacks, buffers = []) => receive(message, buffers);
  }

  get(key) {
    return this.#state[key];
  }

  set(key, value) {
    const changed = this.#state[key] !== value;
    this.#state[key] = value;
    if (changed) this.emit(`change:${key}`);
  }

  on(event, listener) {
    (this.#listeners[event] ??= new Set()).add(listener);
  }

  off(event, listener) {
    this.#listeners[event]?.delete(listener);
  }

  /** Tell the widget of an event. */
  emit(event, message) {
    this.#listeners[event]?.forEach((listener) => listener(message));
  }
}
