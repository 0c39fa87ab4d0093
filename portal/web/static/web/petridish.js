// The little that HTML and htmx cannot do: clocks that count down, copying, and keeping
// the focus where it is when a live part is drawn anew around a form that is preserved.
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

// What is said to screen readers is said once, however often the part is drawn.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  if (target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
});

let focused = null;
document.addEventListener("htmx:beforeSwap", () => { focused = document.activeElement; });
document.addEventListener("htmx:afterSettle", () => {
  if (focused?.isConnected && document.activeElement === document.body) focused.focus({ preventScroll: true });
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
document.addEventListener("DOMContentLoaded", tick);
document.addEventListener("htmx:afterSwap", tick);
setInterval(tick, 1000);
