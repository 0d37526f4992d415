// The page works without a network after the first visit. SITE, above, names its files, their hashes, and two versions.
//
// The files of the page are in one cache, and the parts of runtime and model in another, which the classifier fills
// (classifier.js). A returning visitor sees the page that they know. Meanwhile the browser fetches the new one, and its
// parts if the old one had all of its own, so that what worked without a network still does; the next visit shows it. If
// anything is missing or not of this version, because a deploy is half done or a CDN still has an old file, all stays as it
// was, and the next visit tries again.

const PREFIX = `icon-classifier ${new URL(self.registration.scope).pathname} `; // pages of one account share an origin
const FILES = `${PREFIX}page ${SITE.version}`;
const PARTS = `${PREFIX}parts ${SITE.cache}`;
const ANY = { ignoreVary: true }; // a host may send `Vary: Origin`, but has one version of each file

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
const isAmong = async (bytes, hashes) => hashes.includes(hex(await crypto.subtle.digest("SHA-256", bytes)));

/** Whether this is the whole document of this version. The mark is at its end; no hash fits, as some hosts insert a script. */
const isDocument = async (bytes) => new TextDecoder().decode(bytes).includes(`data-version="${SITE.version}"`);

/** Put a file into a cache, from an earlier page's cache or else from the host. Throws if neither has the right one. */
const keep = async (name, file, isRight) => {
  const sources = [() => caches.match(file, ANY), () => fetch(file, { cache: "no-cache" })]; // not a host's old copy
  for (const source of sources) {
    const response = await source();
    const bytes = response?.ok && (await response.arrayBuffer());
    if (!bytes || !(await isRight(bytes))) continue;
    const headers = new Headers(response.headers);
    for (const each of ["Vary", "Content-Encoding", "Content-Length"]) headers.delete(each); // of the transfer
    return (await caches.open(name)).put(file, new Response(bytes, { headers }));
  }
  throw new Error(`${file} is missing, or of another version`);
};

const names = async (kind) => (await caches.keys()).filter((name) => name.startsWith(PREFIX + kind));

/** Whether an earlier page works without a network: all parts that its document names are there. */
const workedOffline = async () => {
  for (const cacheName of await names("page ")) {
    const html = cacheName !== FILES && (await (await caches.match("./", { cacheName, ...ANY }))?.text());
    const parts = (html || "").match(/parts\/(runtime|model)-[0-9a-f]+\.bin/g) ?? [];
    const found = await Promise.all(parts.map((part) => caches.match(part, ANY)));
    if (found.length && found.every(Boolean)) return true;
  }
  return false;
};

const keepParts = async () => {
  try {
    for (const [part, hashes] of Object.entries(SITE.parts)) await keep(PARTS, part, (bytes) => isAmong(bytes, hashes));
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error; // else the new page, which downloads them, rather than the old
  }
};

const install = async () => {
  await caches.delete(FILES); // of an earlier visit, if the host has gone back to that page: the newest one comes last
  try {
    for (const [file, hash] of Object.entries(SITE.files)) await keep(FILES, file, (bytes) => isAmong(bytes, [hash]));
    await keep(FILES, "./", isDocument);
    if (await workedOffline()) await keepParts();
  } catch (error) {
    await caches.delete(FILES);
    throw error;
  }
  await self.skipWaiting();
};

/**
 * Delete the earlier models, and pages before the one before this. A tab may have received the document of that one from
 * the earlier worker and not yet its scripts: a browser lists it among the clients only later.
 */
const clean = async () => {
  if (self.registration.installing) return; // a newer page is filling its caches
  const pages = await names("page "); // in the order of `install`
  const old = [...pages.slice(0, -2), ...(await names("parts ")).filter((name) => name !== PARTS)];
  await Promise.all(old.map((name) => caches.delete(name)));
};

const activate = async () => {
  await clean();
  await self.clients.claim();
};

const find = async (request) => {
  if (request.mode === "navigate") return caches.match("./", { cacheName: FILES, ...ANY });
  for (const cacheName of [FILES, ...(await names("page "))]) { // or of an earlier page, which is open in a tab
    const found = await caches.match(request, { cacheName, ...ANY });
    if (found) return found;
  }
};

const respond = async (request) => (await find(request).catch(() => null)) ?? fetch(request);

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const path = new URL(url).href.replace(/[?#].*/, "").slice(self.registration.scope.length);
  const isFile = path in SITE.files || path.startsWith("page-"); // also of an earlier page, which is open in a tab
  const isPage = mode === "navigate" ? ["", "index.html"].includes(path) : isFile;
  if (method !== "GET" || !url.startsWith(self.registration.scope) || !isPage) return;
  event.respondWith(respond(event.request));
});
