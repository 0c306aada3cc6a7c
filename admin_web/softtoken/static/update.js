// Registers the service worker, which makes the app work offline and brings new versions.

/** The page's policy demands Trusted Types: the worker's URL has to come from the policy "worker" (site.py). */
export function registerServiceWorker() {
  if (!navigator.serviceWorker) return;
  const createScriptURL = (url) => {
    if (url !== "/sw.js") throw new TypeError("no other worker");
    return url;
  };
  const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL });
  navigator.serviceWorker.register(policy ? policy.createScriptURL("/sw.js") : "/sw.js").catch(() => {});
}
