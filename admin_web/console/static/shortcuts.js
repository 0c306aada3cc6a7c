// The keys / and ?: the search box, and the page that tells of them. Never while somebody types, and off for who wants.
"use strict";

const OFF = "shortcuts-off";

function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

function isOff() {
  return localStorage.getItem(OFF) !== null;
}

document.addEventListener("keydown", (event) => {
  const chorded = event.ctrlKey || event.metaKey || event.altKey;
  if (chorded || event.isComposing || event.repeat || isTyping(event.target) || isOff()) return;
  if (event.key === "/") {
    event.preventDefault();
    const box = document.getElementById("q");
    if (box) {
      box.focus();
      box.select();
    } else {
      location.assign("/");
    }
  } else if (event.key === "?") {
    event.preventDefault();
    location.assign("/help");
  }
});

const toggle = document.getElementById("shortcuts");
if (toggle) {
  toggle.checked = !isOff();
  toggle.closest("p").hidden = false;
  toggle.addEventListener("change", () => {
    if (toggle.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "yes");
  });
}
