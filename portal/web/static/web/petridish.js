// The little that HTML and htmx cannot do: clocks that count down, copying, tables that stack on a
// phone, code that opens at what was found, and keeping the focus where it is when a live part is drawn anew around a form that is preserved.
"use strict";

const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// "2 d 3 h", "9 min 41 s": the two largest units; the same words as web/words.py.
function remaining(seconds) {
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const text = `${Math.floor(seconds / size)} ${name}`;
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return rest ? `${text} ${rest} ${next[0]}` : text;
}

function tick() {
  for (const clock of document.querySelectorAll("time[data-until]")) {
    const seconds = Math.floor((Date.parse(clock.dateTime) - Date.now()) / 1000);
    const text = remaining(Math.max(0, seconds));
    if (clock.textContent !== text) clock.textContent = text;
  }
}

async function copy(button) {
  const said = document.getElementById("said");
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    button.textContent = "Selected";
    said.textContent = "Copying is not allowed here. The text is selected instead.";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2500);
}

// On a narrow screen a row is a block, and each cell of it says what it is. Without this, tables scroll.
function label() {
  for (const table of document.querySelectorAll(".scroll table:not(.stacks)")) {
    const names = [...table.querySelectorAll("thead th")].map((th) => (th.querySelector(".spoken") ? "" : th.textContent));
    for (const row of table.tBodies[0]?.rows ?? []) {
      [...row.cells].forEach((cell, at) => { if (names[at] && cell.localName === "td") cell.dataset.label = names[at]; });
    }
    table.classList.add("stacks");
  }
}

// Code in which something was found opens where that is.
function openAtFound() {
  for (const code of document.querySelectorAll(".sides")) {
    const row = code.querySelector(".found");
    if (row) code.scrollTop = row.offsetTop - code.clientHeight / 3;
  }
}

// What is said to screen readers is said once, however often the part is drawn.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  if (target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
});

let focused = null;
document.addEventListener("htmx:beforeSwap", () => { focused = document.activeElement; });
document.addEventListener("htmx:afterSettle", ({ target }) => {
  if (document.activeElement !== document.body) return;
  // A part that takes the place of what was pressed says what has the focus then.
  const next = focused?.isConnected ? focused : document.getElementById(target.dataset.focus);
  next?.focus({ preventScroll: true });
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
for (const drawn of ["DOMContentLoaded", "htmx:afterSwap"]) {
  document.addEventListener(drawn, () => { tick(); label(); });
}
document.addEventListener("DOMContentLoaded", openAtFound);
setInterval(tick, 1000);
