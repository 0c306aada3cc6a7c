// Takes what is shown once off the page when it is left, so that Back brings back a page without it (browsers keep pages
// in memory in spite of no-store), and asks the server what to show instead. Without it the page works all the same.

addEventListener("pagehide", () => {
  for (const secret of document.querySelectorAll("[data-once]")) secret.remove();
});

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
