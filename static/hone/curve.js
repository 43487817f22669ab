// Curves of a run: one small chart a metric, drawn by uPlot in the page's own colours. While the run goes on htmx swaps the
// live part of the page every two seconds; each swap is the moment to ask for new numbers.

import { request } from "./fragments.js";
import { axis, colour, cursor, keepDrawn, widthOf } from "./plots.js";

const section = document.querySelector("[data-metrics]");
const charts = new Map();
const HEIGHT = 176;
let asking = false;

const shown = (value) =>
  value == null ? "" : Math.abs(value) >= 1e-3 || value === 0 ? String(Number(value.toPrecision(4))) : value.toExponential(2);

const describe = (data, at) => interpolate(gettext("step %(n)s: %(value)s"), { n: data[0][at], value: shown(data[1][at]) }, true);

const latest = (data) => describe(data, data[0].length - 1);

const options = (name, width, output) => {
  const shared = axis();
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 10, 0, 0],
    cursor: cursor(7),
    scales: { x: { time: false } },
    axes: [{ ...shared, size: 26, values: (_, steps) => steps.map((step) => (Number.isInteger(step) ? step : "")) },
           { ...shared, size: 54, values: (_, values) => values.map(shown) }],
    series: [{}, { stroke: colour("var(--accent)"), width: 2, points: { show: false, fill: colour("var(--accent)") } }],
    hooks: {
      setCursor: [(chart) => {
        output.textContent = describe(chart.data, chart.cursor.idx ?? chart.data[0].length - 1);
      }],
    },
  };
};

const draw = (name, words, data) => {
  const known = charts.get(name);
  if (known) {
    known.chart.setData(data);
    known.output.textContent = latest(data);
    return;
  }
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const output = document.createElement("output");
  const plot = document.createElement("div");
  caption.append(words, output);
  plot.className = "plot";
  figure.append(caption, plot);
  section.append(figure);
  section.hidden = false;
  const settings = options(name, widthOf(plot), output);
  settings.series[1].points.show = data[0].length < 3;
  charts.set(name, { chart: new uPlot(settings, data, plot), plot, output, data, words });
  output.textContent = latest(data);
};

// Score over the root of the divergence: a dot per rollout iteration, larger ones for held-out prompts.
let rewardKl = null;

const merged = ({ iterations = [[], []], held_out: held = [[], []] }) => uPlot.join([iterations, held].map((points) => distinct(points)));

// Two points at one place share an x, and uPlot.join keeps one y for each: the later by a hair.
const distinct = ([xs, ys]) => {
  let last = -Infinity;
  return [xs.map((x) => (last = x > last ? x : last + Math.max(Math.abs(last), 1) * 1e-9)), ys];
};

const drawRewardKl = (points, words) => {
  const data = merged(points);
  if (rewardKl) {
    rewardKl.points = points;
    rewardKl.chart.setData(data);
    return;
  }
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const output = document.createElement("output");
  const plot = document.createElement("div");
  const key = document.createElement("p");
  for (const [name, kind] of [["held_out", "held-out"], ["iterations", "iterations"]]) {
    if (!points[name]) continue;
    const entry = document.createElement("span");
    entry.className = kind;
    entry.append(words[name]);
    key.append(entry);
  }
  key.className = "key";
  caption.append(words.reward_kl, output);
  plot.className = "plot";
  figure.append(caption, plot, key);
  section.prepend(figure);
  section.hidden = false;
  const settings = options("reward_kl", widthOf(plot), output);
  const dots = (value, size) => ({
    stroke: colour(value), paths: () => null, points: { show: true, size, width: 1, stroke: colour(value), fill: colour(value) },
  });
  settings.series = [{}, dots("var(--muted)", 5), dots("var(--accent)", 8)];
  settings.axes[0].values = (_, values) => values.map(shown);
  settings.hooks.setCursor = [(chart) => {
    const at = chart.cursor.idx;
    const score = at == null ? null : chart.data[2][at] ?? chart.data[1][at];
    output.textContent = score == null ? "" : `√KL ${shown(chart.data[0][at])}: ${shown(score)}`;
  }];
  rewardKl = { chart: new uPlot(settings, data, plot), plot, points, words };
};

const redraw = () => {
  const drawn = [...charts].map(([name, { chart, words }]) => [name, words, chart.data]);
  const last = rewardKl;
  charts.clear();
  rewardKl = null;
  section.replaceChildren();
  for (const [name, words, data] of drawn) draw(name, words, data);
  if (last) drawRewardKl(last.points, last.words);
};

const refresh = async () => {
  if (asking) return;
  asking = true;
  const reply = await request(section.dataset.metrics, { headers: { Accept: "application/json" } });
  asking = false;
  if (!reply.ok) return; // the next swap asks again
  const { series = {}, words = {}, reward_kl: points = {} } = reply.data;
  for (const [name, data] of Object.entries(series)) draw(name, words[name], data);
  if (Object.keys(points).length) drawRewardKl(points, words);
};

// The log stays open across swaps when a person has opened it.
let logWasOpen = false;
document.addEventListener("htmx:beforeSwap", () => { logWasOpen = document.getElementById("log")?.open ?? false; });
document.addEventListener("htmx:afterSwap", (event) => {
  const log = document.getElementById("log");
  if (log && logWasOpen) log.open = true;
  if (event.detail.target.id === "live" || document.getElementById("live")) refresh();
});
keepDrawn({
  redraw,
  charts: () => [...charts.values(), ...(rewardKl ? [rewardKl] : [])].map(({ chart, plot }) => [chart, plot]),
  height: HEIGHT,
});
refresh();
