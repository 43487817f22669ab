// One chart of one or several metrics of one or several runs, and its table.

import { axis, colour, cursor, widthOf } from "../plots.js";
import { showSteps, view } from "./view.js";

export const HEIGHT = 176;
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

export const shown = (value) => {
  if (value == null) return "";
  return Math.abs(value) >= 1e-3 || value === 0 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
};

// Exponential moving average without the pull of its beginning (Kingma and Ba 2014, section 3).
export const smoothed = (values, weight) => {
  let mean = 0;
  let share = 1;
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return mean / (1 - share);
  });
};

const faint = (value, percent) => colour(`color-mix(in srgb, ${value} ${percent}%, transparent)`);

// lines: [{label, place, dash, columns: [xs, means, minima, maxima]}]; place: of its colour, from 1
// words: {at: (x) => text of a place on the x axis}
const settings = (lines, { width, output, words, zooms }) => {
  const shared = axis();
  const isLog = view.log && lines.every(({ columns }) => (columns[2] ?? columns[1]).every((value) => value > 0));
  const series = [{}];
  const bands = [];
  const tables = [];
  const means = []; // of each line: the place of its means in the data
  for (const { place, dash, columns } of lines) {
    const name = lines.length > 1 ? `var(--series-${place})` : "var(--accent)";
    const few = columns[0].length < 3;
    const table = [columns[0]];
    const add = (values, options) => { table.push(values); series.push(options); };
    if (columns[2]) {
      bands.push({ series: [series.length + 1, series.length], fill: faint(name, 18) });
      add(columns[2], { stroke: "transparent", points: { show: false } });
      add(columns[3], { stroke: "transparent", points: { show: false } });
    }
    means.push(series.length);
    const stroke = view.smoothing ? faint(name, 35) : colour(name);
    add(columns[1], { stroke, width: view.smoothing ? 1 : 2, dash: DASHES[dash], points: { show: few, fill: stroke } });
    if (view.smoothing) {
      const line = { stroke: colour(name), width: 2, dash: DASHES[dash], points: { show: false } };
      add(smoothed(columns[1], view.smoothing), line);
    }
    tables.push(table);
  }
  const describe = (chart) => {
    const at = chart.cursor.idx ?? chart.data[0].length - 1;
    const parts = lines.flatMap(({ label }, line) => {
      const values = chart.data[means[line]];
      let place = at;
      while (place > 0 && values[place] == null) place -= 1; // the last value before the cursor
      if (values[place] == null) return [];
      return [lines.length > 1 ? `${label} ${shown(values[place])}` : shown(values[place])];
    });
    output.textContent = words.at(chart.data[0][at], parts.join(" · "));
  };
  const options = {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: { ...cursor(7), drag: { x: zooms, y: false, setScale: false } },
    scales: {
      x: {
        time: false,
        range: (_, low, high) => (
          zooms ? [view.low ?? low, Math.max(view.high ?? high, (view.low ?? low) + 1)] : [low, high]
        ),
      },
      y: isLog ? { distr: 3 } : {},
    },
    axes: [{ ...shared, size: 26, values: (_, places) => places.map(words.tick) },
           { ...shared, size: 54, values: (_, values) => values.map(shown) }],
    series,
    bands,
    hooks: {
      setCursor: [describe],
      ready: [describe],
      setSelect: [(chart) => {
        if (!zooms || chart.select.width < 5) return;
        const { left, width: selected } = chart.select;
        const ends = [left, left + selected].map((place) => chart.posToVal(place, "x"));
        chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        showSteps(Math.max(0, Math.floor(ends[0])), Math.max(0, Math.ceil(ends[1])));
      }],
    },
  };
  return { options, data: uPlot.join(tables) };
};

const fillTable = (table, lines, words) => {
  const head = document.createElement("tr");
  const body = document.createDocumentFragment();
  const cell = (tag, text, scope) => {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = "number";
    if (scope) made.scope = scope;
    return made;
  };
  head.append(cell("th", words.x, "col"), ...lines.map(({ label }) => cell("th", label, "col")));
  const xs = [...new Set(lines.flatMap(({ columns }) => columns[0]))].sort((a, b) => a - b);
  const values = lines.map(({ columns }) => new Map(columns[0].map((x, at) => [
    x,
    columns[2] && columns[2][at] !== columns[3][at]
      ? `${shown(columns[1][at])} (${shown(columns[2][at])}–${shown(columns[3][at])})`
      : shown(columns[1][at]),
  ])));
  for (const x of xs) {
    const row = document.createElement("tr");
    row.append(cell("th", words.tick(x), "row"), ...values.map((found) => cell("td", found.get(x) ?? "")));
    body.append(row);
  }
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(body);
};

export class Chart {
  #drawn = null;
  #lines = [];

  constructor(figure, words, { zooms = true } = {}) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.words = words;
    this.zooms = zooms;
    const details = figure.querySelector("details");
    details.hidden = false;
    details.addEventListener("toggle", () => this.#table());
  }

  get chart() { return this.#drawn; }

  draw(lines) {
    this.#lines = lines.filter(({ columns }) => columns?.[0].length);
    this.#drawn?.destroy();
    this.#drawn = null;
    this.#table();
    const output = this.figure.querySelector("output");
    output.textContent = this.#lines.length ? "" : gettext("no values in these steps");
    if (!this.#lines.length) return;
    const { options, data } = settings(this.#lines, {
      width: widthOf(this.plot), output, words: this.words, zooms: this.zooms,
    });
    this.#drawn = new uPlot(options, data, this.plot);
    if (this.zooms) this.#drawn.over.addEventListener("dblclick", () => showSteps(null, null));
  }

  redraw() { this.draw(this.#lines); }

  #table() {
    const details = this.figure.querySelector("details");
    if (details.open) fillTable(details.querySelector("table"), this.#lines, this.words);
  }
}
