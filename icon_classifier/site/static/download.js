// Downloads, by the page (engine.js) and by its worker (classifier.js).

export const INCOMPLETE = "The model could not be downloaded completely. Check the connection, and reload the page.";
const STALL = 30_000; // ms without a byte, after which a connection is given up
const PAUSE = 1_000; // ms between two tries
const TRIES = 2;

/** Fetch a file once; see `download`. */
async function attempt(address, grow, options) {
  const control = new AbortController();
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => control.abort(new Error(`${address}: nothing came for ${STALL} ms`)), STALL);
  };
  try {
    wait();
    const response = await fetch(address, { ...options, signal: control.signal });
    if (!response.ok) throw new Error(`${address}: status ${response.status}`);
    const chunks = [];
    const body = response.body.getReader();
    for (let part = await body.read(); !part.done; part = await body.read()) {
      wait();
      chunks.push(part.value);
      grow(part.value.length);
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Return a promise of the bytes of a file. It is fetched a second time if it did not come completely, or if
 * `isRight(bytes)`, a promise, says no. `grow` is told how many bytes have come; a negative number if they came in vain.
 */
export async function download(address, isRight, grow) {
  for (let tries = 1; ; tries++) {
    let came = 0;
    const count = (n) => {
      came += n;
      grow(n);
    };
    try {
      const bytes = await attempt(address, count, tries === 1 ? {} : { cache: "reload" });
      if (await isRight(bytes)) return bytes;
      throw new Error(`${address}: damaged (${bytes.length} bytes)`);
    } catch (error) {
      grow(-came);
      if (tries === TRIES) throw error;
      await new Promise((done) => setTimeout(done, PAUSE));
    }
  }
}
