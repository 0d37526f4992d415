// The worker that classifies (classifier.js), and what it needs: files of this site, or parts of this document.
import { INCOMPLETE, download } from "./download.js";

const FAILED = "Something went wrong in this browser. Your picture is fine. Please try again.";
const CRASHED = "The model stopped working; this device may have too little memory for it. Close other tabs, then reload the page.";

/**
 * Sends jobs to the worker and receives its replies. `onProgress` is called with the share of the model that has come.
 * A worker that failed is replaced at the next job.
 */
export class Engine {
  #config;
  #onProgress;
  #worker = null; // a promise of it
  #loading = null; // a promise that it has its model
  #waiting = new Map();
  #last = 0;

  constructor(config, onProgress) {
    this.#config = config;
    this.#onProgress = onProgress;
    this.#running().catch(() => {}); // the first job says why
  }

  /** Return a promise of the result of a job. It is rejected with an Error whose message is a sentence for the visitor. */
  async ask(job, data) {
    if (job === "predict") await (this.#loading ?? this.load()); // a new worker has no model
    return this.#send(job, data);
  }

  /** Load runtime and model. */
  load() {
    const loading = this.#load();
    this.#loading = loading;
    loading.catch(() => {
      if (this.#loading === loading) this.#loading = null; // the next job tries again
    });
    return loading;
  }

  async #load() {
    return this.#send("load", { config: await modelFiles(this.#config) });
  }

  #send(job, data) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const post = (worker) => worker.postMessage({ id, job, ...data });
      this.#running().then(post).catch((error) => this.#settle({ id, problem: INCOMPLETE, trouble: `${error}` }));
    });
  }

  #settle({ id, done, problem, trouble }) {
    const asked = this.#waiting.get(id);
    if (!asked) return; // it was answered when the worker failed
    this.#waiting.delete(id);
    if (trouble === undefined) return asked.resolve(done);
    if (!problem) console.warn(trouble);
    asked.reject(Object.assign(new Error(problem ?? FAILED), { expected: Boolean(problem) }));
  }

  #running() {
    this.#worker ??= this.#start().catch((error) => {
      this.#worker = null;
      throw error;
    });
    return this.#worker;
  }

  async #start() {
    const worker = new Worker(await workerAddress(this.#config));
    let works = false; // whether it has ever replied
    worker.onmessage = ({ data }) => {
      works = true;
      if ("progress" in data) this.#onProgress(data.progress);
      else this.#settle(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      worker.onmessage = worker.onerror = null; // more may be on the way
      this.#worker = this.#loading = null;
      if (!works) script = null; // perhaps it is damaged, so it is fetched again
      const problem = works ? CRASHED : INCOMPLETE;
      for (const id of this.#waiting.keys()) this.#settle({ id, problem, trouble: event.message ?? "" });
    };
    worker.postMessage({ id: 0, job: "begin", card: this.#config.card });
    return worker;
  }
}

let script = null; // the address of the worker's script

/**
 * Return the address of a Blob with the worker's script. Such a worker is subject to the policy of this document
 * (Content-Security-Policy), but one from an address of the site only to a header, which free hosts do not send.
 */
async function workerAddress(config) {
  if (script) return script;
  const isRight = async (bytes) => bytes.length > 0;
  const text = config.worker ? await download(config.worker, isRight, () => {}) : document.getElementById("worker").textContent;
  script = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  return script;
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
      sha256: Object.fromEntries(Object.entries(config.sha256).map(([name, hashes]) => [address(name), hashes])),
    };
  }
  if (document.readyState === "loading") await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
  return { bytes: config.bytes, cache: null, runtime: embedded("runtime"), model: embedded("model") };
}

const read = {}; // what the document contained, by id

/** Return a Blob of the bytes that the document contains in base64; the text, which takes more memory, is removed. */
function embedded(id) {
  if (!read[id]) {
    const element = document.getElementById(id);
    const text = atob(element.textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    read[id] = new Blob([bytes]);
    element.remove();
  }
  return read[id];
}
