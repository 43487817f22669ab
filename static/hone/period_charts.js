// Charts over days or months, drawn by uPlot from the table that stands in the same figure: without scripts the table
// is all there is, and what the pointer is on is read from its row.
//
// <figure data-chart="line | bars"> … <output>, .plot, table whose rows have a <time> and cells with data-value, and
// data-low and data-high where the value has an interval. data-unit is what an axis value is multiplied by.

import { WHOLE, axis, colour, cursor, dayOf, grouped, inUtc, keepDrawn, widthOf } from "./plots.js";

const HEIGHT = 190;
// Labels are days: steps of hours would name the same one several times.
const DAYS = [1, 2, 4, 7, 14, 28, 56, 91, 182, 364, 728].map((days) => days * 86_400);
const drawn = new Map();

const number = (text) => (text === undefined || text === "" ? null : Number(text));

const read = (figure) => {
  const rows = [...figure.querySelectorAll("tbody tr")];
  const cells = rows.map((row) => row.querySelector("[data-value]").dataset);
  const data = [rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000)];
  // The interval first: what comes later is drawn over it.
  if (cells.some((cell) => cell.low)) {
    data.push(cells.map((cell) => number(cell.low)), cells.map((cell) => number(cell.high)));
  }
  data.push(cells.map((cell) => number(cell.value)));
  return { rows, data };
};

const textOf = (cell) => cell.textContent.trim().replace(/\s+/g, " ");
const described = (row) => [...row.cells].slice(0, 2).map(textOf).join(": ");

const settings = (figure, data, width, show) => {
  const unit = figure.dataset.unit ?? "";
  const accent = colour("var(--accent)");
  const shared = axis();
  const bars = figure.dataset.chart === "bars";
  const shown = (value) => (unit === "%" ? `${Math.round(value * 100)}%` : grouped(Number(value.toPrecision(4))));
  // The first and the last bar are as wide as the others.
  const [first, second] = data[0];
  const half = second === undefined ? 43_200 : bars ? (second - first) / 2 : 0;
  const bound = { stroke: "transparent", points: { show: false } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 14, 0, 0],
    tzDate: inUtc,
    cursor: cursor(bars ? 0 : 7),
    scales: {
      x: { time: true, range: () => [first - half, data[0].at(-1) + half] },
      y: { range: (_, low, high) => (bars ? [0, high || 1] : low === high ? [low - 0.1, high + 0.1] : [low, high]) },
    },
    axes: [
      { ...shared, size: 26, space: 70, incrs: DAYS, values: (_, values) => values.map(dayOf) },
      { ...shared, size: 50, ...(bars && { incrs: WHOLE }), values: (_, values) => values.map(shown) },
    ],
    series: [
      {},
      ...(data.length > 2 ? [bound, bound] : []),
      {
        stroke: accent,
        width: bars ? 0 : 2,
        fill: bars ? accent : undefined,
        paths: bars ? uPlot.paths.bars({ size: [0.8, 40] }) : undefined,
        points: { show: !bars, size: 5, fill: accent },
      },
    ],
    bands: data.length > 2 ? [{ series: [2, 1], fill: colour("var(--accent-wash)") }] : [],
    hooks: { setCursor: [(chart) => show(chart.cursor.idx)] },
  };
};

// uPlot lists every chart for its listeners until it is destroyed.
const forget = (figure) => {
  drawn.get(figure)?.destroy();
  drawn.delete(figure);
};

const draw = (figure) => {
  const plot = figure.querySelector(".plot");
  const output = figure.querySelector("output");
  const { rows, data } = read(figure);
  forget(figure);
  if (!rows.length) return;
  const show = (at) => { output.textContent = described(rows[at ?? rows.length - 1]); };
  plot.hidden = false;
  drawn.set(figure, new uPlot(settings(figure, data, widthOf(plot), show), data, plot));
  show(null);
};

const drawAll = () => {
  for (const figure of [...drawn.keys()]) if (!figure.isConnected) forget(figure);
  document.querySelectorAll("figure[data-chart]").forEach(draw);
};

document.addEventListener("htmx:afterSwap", drawAll);
keepDrawn({
  redraw: drawAll,
  charts: () => [...drawn].map(([figure, chart]) => [chart, figure.querySelector(".plot")]),
  height: HEIGHT,
});
drawAll();
