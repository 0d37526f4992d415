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
  try {
    await navigator.serviceWorker?.register("service_worker.js");
  } catch (error) {
    console.info(error);
  }
}
