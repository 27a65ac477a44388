// Waits for a model's answer, then shows it; and hides or shows the inspection.
const waiting = document.getElementById("waiting");

async function ask() {
  try {
    const response = await fetch(waiting.dataset.status);
    if (!response.ok || response.redirected || !(await response.json()).active) return location.reload();
  } catch {
    // The server restarts: the next round asks again.
  }
  setTimeout(ask, 1000);
}

if (waiting) setTimeout(ask, 1000);

const box = document.getElementById("show-trajectory");
box?.addEventListener("change", () => {
  document.getElementById("trajectory").toggleAttribute("hidden", !box.checked);
});
