// Curves of runs, drawn by uPlot in the page's own colours. Numbers are asked for when a chart comes into sight. While
// the run goes on htmx swaps the live part of the page every two seconds; each swap is the moment to ask for new
// numbers.

import { request, swap } from "../fragments.js";
import { keepDrawn } from "../plots.js";
import { Chart, HEIGHT } from "./chart.js";
import { RewardKlChart } from "./reward_kl.js";
import { onChange, view } from "./view.js";

const section = document.getElementById("charts");
const { metrics: address } = section.dataset;
const runs = JSON.parse(section.dataset.runs); // [{id, label}]
let charts = new Map(); // figure -> Chart
let rewardKl = null;
let numbers = {}; // {run: {metric: columns}}
let asking = null;

const stepWords = {
  x: gettext("step"),
  tick: (step) => (Number.isInteger(step) ? String(step) : ""),
  at: (step, values) => interpolate(gettext("step %(n)s: %(value)s"), { n: step, value: values }, true),
};
const minuteWords = {
  x: gettext("minute"),
  tick: (minute) => String(Math.round(minute * 10) / 10),
  at: (minute, values) =>
    interpolate(gettext("minute %(n)s: %(value)s"), { n: Math.round(minute * 10) / 10, value: values }, true),
};

const metricsOf = (figure) => JSON.parse(figure.dataset.curves); // [[name, label], ...]
const figures = () => [...section.querySelectorAll("figure[data-curves]")];
const isSystem = (figure) => figure.dataset.source === "system";
const inSight = new Set();

const linesOf = (figure) => {
  const metrics = metricsOf(figure);
  return runs.flatMap(({ id, label }, run) => metrics.map(([name, words], metric) => {
    const columns = isSystem(figure) ? numbers.system?.[name] : numbers[id]?.[name];
    if (runs.length > 1 && isSystem(figure) && run) return { columns: null };
    if (runs.length === 1 || isSystem(figure)) return { label: words, place: metric + 1, dash: 0, columns };
    return { label: metrics.length > 1 ? `${label} ${words}` : label, place: run + 1, dash: metric % 4, columns };
  })).filter(({ columns }) => columns);
};

const draw = (figure) => {
  if (!charts.has(figure)) {
    charts.set(figure, new Chart(figure, isSystem(figure) ? minuteWords : stepWords, { zooms: !isSystem(figure) }));
  }
  charts.get(figure).draw(linesOf(figure));
};

const parameters = (names) => {
  const found = new URLSearchParams();
  for (const { id } of runs.slice(1)) found.append("with", id);
  for (const name of names.length ? names : [""]) found.append("name", name);
  if (view.low != null) found.set("low", view.low);
  if (view.high != null) found.set("high", view.high);
  return found;
};

const askForSystem = async (shown) => {
  if (!shown.some(isSystem)) return;
  const reply = await request(section.dataset.system, { headers: { Accept: "application/json" } });
  if (reply.ok) numbers.system = reply.data.series ?? {};
};

// Asks for the curves in sight and draws them. New metrics of a run come with a new grid.
const load = async (wanted) => {
  const steps = `${view.low}-${view.high}`;
  const metrics = wanted.filter((figure) => !isSystem(figure)).flatMap(metricsOf);
  const names = [...new Set(metrics.map(([name]) => name))];
  const [reply] = await Promise.all([
    request(`${address}?${parameters(names)}`, { headers: { Accept: "application/json" } }),
    askForSystem(wanted),
  ]);
  // Asked again: by the next swap, or for other steps already.
  if (!reply.ok || steps !== `${view.low}-${view.high}`) return;
  const { series = {}, names: known = [], reward_kl: points } = reply.data;
  for (const [run, found] of Object.entries(series)) {
    numbers[run] ??= {};
    for (const name of names) delete numbers[run][name];
    Object.assign(numbers[run], found);
  }
  if (points && rewardKl) rewardKl.draw(points);
  wanted.filter((figure) => figure.isConnected).forEach(draw);
  const drawn = new Set(figures().flatMap((figure) => metricsOf(figure).map(([name]) => name)));
  if (known.some((name) => !drawn.has(name))) await renewGrid();
};

const refresh = () => {
  asking ??= load([...inSight]).finally(() => { asking = null; });
  return asking;
};

const observer = new IntersectionObserver((entries) => {
  const came = [];
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) inSight.delete(target);
    else if (!inSight.has(target)) {
      inSight.add(target);
      came.push(target);
    }
  }
  if (came.length) load(came);
}, { rootMargin: "300px" });

const search = () => {
  for (const group of section.querySelectorAll(".chart-group")) {
    let found = 0;
    for (const figure of group.querySelectorAll("figure[data-searched]")) {
      figure.hidden = !figure.dataset.searched.includes(view.words);
      found += !figure.hidden;
    }
    group.hidden = !found;
  }
  document.getElementById("no-charts").hidden = !figures().length || figures().some((figure) => !figure.hidden);
};

const begin = () => {
  charts.forEach(({ chart }) => chart?.destroy());
  charts = new Map();
  inSight.clear();
  observer.disconnect();
  const scatter = document.getElementById("reward-kl");
  rewardKl = scatter && new RewardKlChart(scatter);
  search();
  figures().forEach((figure) => observer.observe(figure));
};

const renewGrid = async () => {
  const reply = await request(location.href, { headers: { "HX-Target": "chart-grid" } });
  const next = reply.ok && reply.fragment("chart-grid");
  if (!next) return;
  swap(document.getElementById("chart-grid"), next);
  begin();
  if (rewardKl) load([]);
};

onChange((changed) => {
  if (changed.has("words")) search();
  if (changed.has("steps")) {
    numbers = { system: numbers.system };
    load([...inSight]);
  } else if (changed.has("drawing")) charts.forEach((chart) => chart.redraw());
});

// The log stays open across swaps when a person has opened it.
let logWasOpen = false;
document.addEventListener("htmx:beforeSwap", () => { logWasOpen = document.getElementById("log")?.open ?? false; });
document.addEventListener("htmx:afterSwap", (event) => {
  const log = document.getElementById("log");
  if (log && logWasOpen) log.open = true;
  if (document.getElementById("live") && event.detail.target.id !== "made") refresh();
});
const allCharts = () => [...charts.values(), ...(rewardKl ? [rewardKl] : [])];
keepDrawn({
  redraw: () => allCharts().forEach((chart) => chart.redraw()),
  charts: () => allCharts().filter(({ chart }) => chart).map(({ chart, plot }) => [chart, plot]),
  height: HEIGHT,
});
begin();
load([]);
