// The line over rounds with its band, drawn by uPlot from the table that stands in the same figure: rows with data-x,
// data-value, data-low and data-high. Without scripts the table is all there is.

import { WHOLE, axis, colour, cursor, grouped, keepDrawn, widthOf } from "./plots.js";

const HEIGHT = 220;
const figure = document.querySelector("figure.rounds");
const plot = figure?.querySelector(".plot");
const rows = figure ? [...figure.querySelectorAll("tbody tr")] : [];
let chart = null;

const column = (name) => rows.map((row) => Number(row.dataset[name]));

const described = (row) =>
  [...row.cells].map((cell) => cell.textContent.trim().replace(/\s+/g, " ")).filter(Boolean).join(" · ");

// As the table calls the rounds; between two of them there is nothing to mark.
const round = (at) => rows.find((row) => Number(row.dataset.x) === at)?.cells[0].textContent.trim() ?? "";

const show = (at) => { figure.querySelector("output").textContent = described(rows[at ?? rows.length - 1]); };

const settings = () => {
  const shared = axis();
  const accent = colour("var(--accent)");
  const bound = { stroke: "transparent", points: { show: false } };
  return {
    width: widthOf(plot),
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 10, 0, 0],
    cursor: cursor(7),
    scales: { x: { time: false } },
    axes: [
      { ...shared, size: 26, incrs: WHOLE, values: (_, values) => values.map(round) },
      { ...shared, size: 50, values: (_, values) => values.map((value) => grouped(Number(value.toPrecision(6)))) },
    ],
    series: [{}, bound, bound, { stroke: accent, width: 2, points: { show: true, size: 6, fill: accent } }],
    bands: [{ series: [2, 1], fill: colour("var(--accent-wash)") }],
    hooks: { setCursor: [(drawn) => show(drawn.cursor.idx)] },
  };
};

const draw = () => {
  plot.replaceChildren();
  plot.hidden = false;
  chart = new uPlot(settings(), ["x", "low", "high", "value"].map(column), plot);
  show(null);
};

if (rows.length > 1) {
  keepDrawn({ redraw: draw, charts: () => (chart ? [[chart, plot]] : []), height: HEIGHT });
  draw();
}
