// The page works without a network after the first visit. SITE, above, names its files and two versions.
//
// The files of the page are in one cache, which is replaced as a whole, so that no page mixes two versions. A returning
// visitor sees the page that they know; meanwhile the browser fetches a new one, and the next visit shows it. The parts of
// runtime and model are in another cache, which the classifier fills (classifier.js).

const PREFIX = `icon-classifier ${new URL(self.registration.scope).pathname} `; // pages of one account share an origin
const FILES = `${PREFIX}page ${SITE.version}`;
const PARTS = `${PREFIX}parts ${SITE.parts}`;

const install = async () => {
  const cache = await caches.open(FILES);
  await cache.addAll(SITE.files.map((file) => new Request(file, { cache: "no-cache" }))); // not a host's or browser's old copy
  await self.skipWaiting();
};

const activate = async () => {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== FILES && name !== PARTS);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
};

const respond = async (request) => {
  const cache = await caches.open(FILES);
  const key = request.mode === "navigate" ? "./" : request;
  return (await cache.match(key)) ?? fetch(request);
};

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const path = new URL(url).href.replace(/[?#].*/, "").slice(self.registration.scope.length);
  const ours = method === "GET" && url.startsWith(self.registration.scope) && (mode !== "navigate" || ["", "index.html"].includes(path));
  if (ours) event.respondWith(respond(event.request));
});
