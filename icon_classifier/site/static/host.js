// What the page has to do with its host: it stands in for a server that is full, and works without a network.

/**
 * Return whether the server has just sent the visitor here because it is full. If it has, also if the page was loaded
 * again since, put a link back at the end of `place`.
 */
export function standsIn(place) {
  const isFull = location.search === "?full";
  if (isFull) history.replaceState({ isFull }, "", location.pathname); // so that no bookmark says it for ever
  if (history.state?.isFull) {
    place.append(" ", Object.assign(document.createElement("a"), { href: "../", textContent: "Try the server again" }));
  }
  return isFull;
}

/** Make the page work without a network. Browsers refuse that in private windows and in some frames. */
export async function keep() {
  const { serviceWorker } = navigator;
  try {
    // Asked first: a request while a worker is about to be replaced can delay that by half a minute in Chromium.
    if (serviceWorker?.controller && (await isWithdrawn())) await forget();
    else await serviceWorker?.register("service_worker.js");
  } catch (error) {
    console.info(error);
  }
}

/** Whether the host has the page no more. Without a network, this throws; of half an upload, it has one of the files. */
async function isWithdrawn() {
  for (const file of ["model.txt", "service_worker.js"]) {
    const response = await fetch(file, { cache: "no-store" });
    await response.text(); // a browser keeps a connection open until this is read
    if (![404, 410].includes(response.status)) return false;
  }
  return true;
}

/** Let the next visit see what the host has now. */
async function forget() {
  const prefix = `icon-classifier ${new URL("./", document.baseURI).pathname} `; // as in service_worker.js
  const ours = (await caches.keys()).filter((name) => name.startsWith(prefix));
  await Promise.all(ours.map((name) => caches.delete(name)));
  await (await navigator.serviceWorker.getRegistration())?.unregister();
}
