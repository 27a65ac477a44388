// Keeps the dashboard's lists fresh every two seconds while something is under way.
const activity = document.getElementById("activity");

async function refresh() {
  try {
    const response = await fetch(activity.dataset.url, { headers: { "X-Requested-With": "fetch" } });
    if (!response.ok || response.redirected) return location.reload(); // signed out meanwhile
    const wasActive = active();
    const focused = activity.contains(document.activeElement);
    const html = await response.text();
    if (!focused) activity.innerHTML = html;
    // What has just ended changes the sentence, the forms and the versions too.
    if (wasActive && !active()) return location.reload();
  } catch {
    // The server restarts: the next round asks again.
  }
  setTimeout(refresh, 2000);
}

function active() {
  return activity.querySelector("[data-active]")?.dataset.active === "yes";
}

if (active()) setTimeout(refresh, 2000);
