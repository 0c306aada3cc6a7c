// The service worker: serves the app's files from a cache, all of one version, so that the app works offline. A version
// is kept only if every file has its digest, and replaces another only when it has started once. Never handles /token
// or /time, and never touches the stored token. The server fills in both constants.

const VERSION = "@VERSION@";
const DIGESTS = "@DIGESTS@"; // SHA-256 by path

const TRIES = 6; // for each file: servers of two versions may answer in turns while the bank upgrades
const PAUSE_MS = 250; // before the second try, twice as long before each further one
const TIMEOUT_MS = 20_000;
const BROKEN = "/broken"; // an entry in the cache of a version that did not start
const NETWORK_ONLY = ["/time", "/token"];

// A new version

async function isGenuine(path, response) {
  const content = await response.clone().arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map((octet) => octet.toString(16).padStart(2, "0")).join("") === DIGESTS[path];
}

/** Resolves to the file of this version, whoever else answers meanwhile. Throws Error. */
async function fetchGenuine(path) {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    if (attempt) await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS * 2 ** (attempt - 1)); });
    try {
      const options = { cache: attempt ? "reload" : "default", redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) };
      const response = await fetch(path, options);
      if (response.ok && (await isGenuine(path, response))) return response;
    } catch {
      // tried again
    }
  }
  throw new Error(`${path} is not that of version ${VERSION}`);
}

/** Throws Error unless every file is there, or DOMException if the browser cannot store them. */
async function keepFiles() {
  const paths = Object.keys(DIGESTS);
  const responses = await Promise.all(paths.map(fetchGenuine));
  const cache = await caches.open(VERSION);
  await Promise.all(paths.map((path, at) => cache.put(path, responses[at])));
}

/** Throws, so that the former version stays, unless all is kept. The browser tries again at the next check. */
async function install() {
  await keepFiles();
  await self.skipWaiting(); // a page that is open has all its files already
}

/**
 * Keeps the files again if some are gone: deleted by a worker of before or by the browser. The worker itself would not be
 * installed again, because its own file stays the same.
 */
async function keepWhole() {
  const kept = (await (await caches.open(VERSION)).keys()).map(({ url }) => new URL(url).pathname);
  if (Object.keys(DIGESTS).some((path) => !kept.includes(path))) await keepFiles().catch(() => {});
}

// Serving

/** Resolves to the name of the version whose page is served: this one, unless it did not start and another one did. */
async function servedVersion() {
  const others = (await caches.keys()).filter((name) => name !== VERSION).reverse(); // the newest first
  for (const name of [VERSION, ...others]) {
    const cache = await caches.open(name);
    if ((await cache.match("/")) && !(await cache.match(BROKEN))) return name;
  }
  return VERSION;
}

async function serve(request, pathname) {
  const cache = await caches.open(pathname === "/" ? await servedVersion() : VERSION);
  // An older page asks for files of its own version.
  return (await cache.match(pathname)) ?? (await caches.match(pathname)) ?? fetch(request);
}

async function serveFresh(request, pathname) {
  try {
    return await fetch(request, { cache: "reload", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    return serve(request, pathname);
  }
}

// What pages tell

async function onStarted(version, client) {
  await keepWhole();
  const served = await servedVersion();
  client?.postMessage({ serves: served });
  if (version !== VERSION || served !== VERSION) return;
  if (self.registration.installing || self.registration.waiting) return; // whose files may be there already
  const others = (await caches.keys()).filter((name) => name !== VERSION);
  await Promise.all(others.map((name) => caches.delete(name)));
}

async function onFailed(version, port) {
  if (await caches.has(version)) await (await caches.open(version)).put(BROKEN, new Response(""));
  port?.postMessage("noted");
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const { origin, pathname, search } = new URL(url);
  if (method !== "GET" || origin !== self.location.origin || NETWORK_ONLY.includes(pathname)) return;
  event.respondWith(search === "?fresh" ? serveFresh(event.request, pathname) : serve(event.request, pathname));
});

self.addEventListener("message", (event) => {
  const { started, failed } = event.data ?? {};
  if (started) event.waitUntil(onStarted(started, event.source));
  if (failed) event.waitUntil(onFailed(failed, event.ports[0]));
});
