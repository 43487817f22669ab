// Score over the root of the divergence: a dot per rollout iteration, larger ones for held-out prompts.

import { axis, colour, cursor, widthOf } from "../plots.js";
import { HEIGHT, shown } from "./chart.js";

// Two points at one place share an x, and uPlot.join keeps one y for each: the later by a hair.
const distinct = ([xs, ys]) => {
  let last = -Infinity;
  return [xs.map((x) => (last = x > last ? x : last + Math.max(Math.abs(last), 1) * 1e-9)), ys];
};

const merged = ({ iterations = [[], []], held_out: held = [[], []] }) =>
  uPlot.join([iterations, held].map((points) => distinct(points)));

export class RewardKlChart {
  chart = null;

  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
  }

  draw(points) {
    this.points = points;
    this.figure.hidden = !Object.keys(points).length;
    if (this.figure.hidden) return;
    this.figure.querySelectorAll(".key span").forEach((entry) => { entry.hidden = !points[entry.dataset.points]; });
    const output = this.figure.querySelector("output");
    const shared = axis();
    const dots = (value, size) => ({
      stroke: colour(value),
      paths: () => null,
      points: { show: true, size, width: 1, stroke: colour(value), fill: colour(value) },
    });
    this.chart?.destroy();
    this.chart = new uPlot({
      width: widthOf(this.plot),
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 10, 0, 0],
      cursor: cursor(7),
      scales: { x: { time: false } },
      axes: [{ ...shared, size: 26, values: (_, values) => values.map(shown) },
             { ...shared, size: 54, values: (_, values) => values.map(shown) }],
      series: [{}, dots("var(--muted)", 5), dots("var(--accent)", 8)],
      hooks: {
        setCursor: [(chart) => {
          const at = chart.cursor.idx;
          const score = at == null ? null : chart.data[2][at] ?? chart.data[1][at];
          output.textContent = score == null ? "" : `√KL ${shown(chart.data[0][at])}: ${shown(score)}`;
        }],
      },
    }, merged(points), this.plot);
  }

  redraw() { if (this.points) this.draw(this.points); }
}
