// The worker that classifies (classifier.js), and what it needs: files of this site, or parts of this document.

const FAILED = "Something went wrong in this browser. Your picture is fine. Please try again.";
const CRASHED = "The model stopped working; this device may have too little memory for it. Close other tabs, then reload the page.";

/** Sends jobs to the worker and receives its replies. `onProgress` is called with the share of the model that has come. */
export class Engine {
  #waiting = new Map();
  #last = 0;

  constructor(config, onProgress) {
    this.config = config;
    this.worker = startWorker(config);
    this.worker.onmessage = ({ data }) => ("progress" in data ? onProgress(data.progress) : this.#settle(data));
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const id of this.#waiting.keys()) this.#settle({ id, problem: CRASHED, trouble: event.message ?? "" });
    };
    this.ask("begin", { card: config.card });
  }

  /** Return a promise of the result of a job. It is rejected with an Error whose message is a sentence for the visitor. */
  ask(job, data) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(++this.#last, { resolve, reject });
      this.worker.postMessage({ id: this.#last, job, ...data });
    });
  }

  #settle({ id, done, problem, trouble }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (trouble === undefined) return resolve(done);
    if (!problem) console.warn(trouble);
    reject(Object.assign(new Error(problem ?? FAILED), { expected: Boolean(problem) }));
  }

  /** Load runtime and model. */
  async load() {
    return this.ask("load", { config: await modelFiles(this.config) });
  }
}

const textOf = (id) => document.getElementById(id).textContent;

function startWorker(config) {
  if (config.worker) return new Worker(config.worker, { type: "module" });
  return new Worker(URL.createObjectURL(new Blob([textOf("worker")], { type: "text/javascript" })));
}

/** Return the config of the job `load`: the addresses of the parts, or their bytes where the page is one file. */
async function modelFiles(config) {
  if (config.worker) {
    const address = (name) => new URL(name, document.baseURI).href;
    const path = new URL("./", document.baseURI).pathname; // pages of one account share an origin
    return {
      bytes: config.bytes,
      cache: `icon-classifier ${path} parts ${config.cache}`, // as in service_worker.js
      runtime: config.runtime.map(address),
      model: config.model.map(address),
      sha256: Object.fromEntries(Object.entries(config.sha256).map(([name, hash]) => [address(name), hash])),
    };
  }
  if (document.readyState === "loading") await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
  const [runtime, model] = await Promise.all(["runtime", "model"].map(embedded));
  return { bytes: config.bytes, cache: null, runtime, model, sha256: {} };
}

/** Return the bytes that the document contains, compressed and in base64. */
async function embedded(id) {
  const text = atob(textOf(id));
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
