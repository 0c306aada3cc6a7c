// The watchdog of the start: if the app does not start, it tries again, goes back to the version before, and at last
// fetches everything anew. Never touches the stored token (IndexedDB). Not a module, and the same for every version: it
// must run when the app's modules do not.

(() => {
  const FAILURES = "failed-starts"; // in sessionStorage: how often in a row
  const PATIENCE_MS = 20_000; // with all files in the cache of the worker
  const PAUSES_MS = [500, 500, 500, 5_000, 30_000]; // before each new try, the last one before all further ones
  const REPLY_MS = 3_000;
  const SERVER_MS = 10_000;
  const version = document.currentScript.dataset.version;
  const workers = navigator.serviceWorker;
  let settled = false; // it has started or failed

  if (location.search === "?fresh") history.replaceState(null, "", "/");

  function pause(ms) {
    return new Promise((resolve) => { setTimeout(resolve, ms); });
  }

  /** Asks the worker to serve another version from now on, if it has one. */
  async function reportToWorker() {
    const { port1, port2 } = new MessageChannel();
    const noted = new Promise((resolve) => { port1.onmessage = resolve; });
    workers.controller.postMessage({ failed: version }, [port2]);
    await Promise.race([noted, pause(REPLY_MS)]);
  }

  /** Whether our own server answers in time, and not, for instance, the login page of a network. Throws TypeError. */
  async function isServerThere() {
    const asked = fetch("/sw.js", { cache: "no-store", redirect: "error" });
    const response = await Promise.race([asked, pause(SERVER_MS)]);
    return Boolean(response?.ok && response.headers.get("Content-Type")?.startsWith("text/javascript"));
  }

  /** Removes worker and caches, but only while the server can be reached: without it they are all there is. */
  async function removeWorker() {
    if (!(await isServerThere())) return;
    for (const registration of await workers.getRegistrations()) await registration.unregister();
    for (const name of await caches.keys()) await caches.delete(name);
  }

  async function recover() {
    const failures = Number(sessionStorage.getItem(FAILURES)); // throws where storage is forbidden: no new try then
    sessionStorage.setItem(FAILURES, String(failures + 1));
    try {
      if (workers?.controller && failures === 1) await reportToWorker();
      if (workers?.controller && failures >= 2) await removeWorker();
    } catch {
      // the next try may help all the same
    }
    await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]);
    location.reload(); // with the ticket and the language that the address may still have
  }

  function onFailure() {
    if (settled) return;
    settled = true;
    const show = () => {
      document.getElementById("stuck")?.classList.remove("late");
      for (const link of document.querySelectorAll("#stuck a")) link.hash = location.hash;
    };
    document.getElementById("stuck") ? show() : addEventListener("DOMContentLoaded", show);
    recover().catch(() => {});
  }

  addEventListener("app-started", () => {
    settled = true;
    sessionStorage.removeItem(FAILURES);
  });
  // In the capture phase: a script or a style that cannot be loaded says so to its element only.
  addEventListener("error", ({ target }) => {
    const matters = target === globalThis || target.matches?.("script, link[rel=stylesheet]");
    if (matters) onFailure();
  }, true);
  addEventListener("unhandledrejection", onFailure);
  if (workers?.controller) setTimeout(onFailure, PATIENCE_MS);
})();
