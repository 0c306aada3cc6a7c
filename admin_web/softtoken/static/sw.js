// The app without a network: its files, all of one version, from a cache. It touches nothing but these files: what is
// asked of the server (a token, the time) passes by and is never kept.

const VERSION = "@VERSION@";
const FILES = "@FILES@".split(" ");

self.addEventListener("install", (event) => {
  const fresh = FILES.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(old());
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== self.location.origin || !FILES.includes(pathname)) return;
  const kept = async () => {
    const cache = await caches.open(VERSION);
    return (await cache.match(pathname)) ?? fetch(event.request);
  };
  event.respondWith(kept());
});
