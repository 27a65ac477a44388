// A run's page: asks once a second for its state and for the points of the loss curve that are new.
const page = document.getElementById("run");
const field = (name) => page.querySelector(`[data-field="${name}"]`);
const badge = page.querySelector("[data-state]");
const bar = page.querySelector("progress");
const BADGES = { succeeded: "ok", failed: "bad", running: "warn" };

const curve = new Map(); // step -> loss; a resumed run repeats the steps after its checkpoint, and the later one counts
let since = 0;
let plot = null;

function draw() {
  const steps = [...curve.keys()].sort((a, b) => a - b);
  const data = [steps, steps.map((step) => curve.get(step)), smooth(steps.map((step) => curve.get(step)))];
  const holder = document.getElementById("curve");
  if (!steps.length) return;
  document.getElementById("curve-empty").hidden = true;
  if (plot) return plot.setData(data);
  plot = new uPlot(
    {
      width: holder.clientWidth,
      height: 300,
      scales: { x: { time: false } },
      legend: { live: true },
      axes: [{ label: "step" }, { label: "loss" }],
      series: [
        { label: "step" },
        { label: "loss", stroke: "#a9cfcb", width: 1, points: { show: steps.length < 3 }, value: (_, v) => v?.toFixed(4) ?? "–" },
        { label: "mean of the last 20", stroke: "#0f6b66", width: 2, points: { show: false }, value: (_, v) => v?.toFixed(4) ?? "–" },
      ],
    },
    data,
    holder,
  );
}

function smooth(values, n = 20) {
  let sum = 0;
  return values.map((value, i) => {
    sum += value - (i >= n ? values[i - n] : 0);
    return sum / Math.min(i + 1, n);
  });
}

function clock(seconds) {
  if (seconds === null) return "–";
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function show(status) {
  badge.textContent = status.label;
  badge.className = `badge ${BADGES[status.state] ?? "muted"}`;
  field("sentence").textContent = status.sentence;
  bar.max = status.total;
  bar.value = status.step;
  field("step").textContent = status.step.toLocaleString("en");
  field("loss").textContent = status.loss === null ? "–" : status.loss.toFixed(3);
  field("time").textContent = clock(status.seconds);
  field("attempt").textContent = status.attempt;
  page.querySelector('[data-when="active"]').hidden = !status.active;
  page.querySelector('[data-when="active"] button').disabled = status.stopping;
  page.querySelector('[data-when="resumable"]').hidden = !["failed", "cancelled"].includes(status.state);
  const link = field("model");
  link.hidden = !status.model;
  if (status.model) {
    link.href = status.model.url;
    link.textContent = `Open ${status.model.name}`;
  }
}

async function poll() {
  try {
    const response = await fetch(`${page.dataset.status}?since=${since}`);
    if (!response.ok || response.redirected) return location.reload();
    const status = await response.json();
    since = status.last;
    for (const [step, loss] of status.points) curve.set(step, loss);
    if (status.points.length) draw();
    show(status);
    if (!status.active) return;
  } catch {
    // The server restarts: the next round asks again.
  }
  setTimeout(poll, 1000);
}

addEventListener("resize", () => plot?.setSize({ width: document.getElementById("curve").clientWidth, height: 300 }));
poll();
