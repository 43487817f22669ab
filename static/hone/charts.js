// Charts of the dashboard and of a labeler's page, drawn by uPlot from the table in the same figure: stacked columns,
// or lines of shares with their intervals. Without this script the tables say the same.

import { WHOLE, axis, colour, cursor, dayOf, grouped, inUtc, keepDrawn, widthOf } from "./plots.js";

const DAY = 86_400;
const HEIGHT = 210;
const percent = (share) => (share == null ? "–" : `${Math.round(100 * share)}%`);
const number = (value) => (value == null ? "–" : grouped(Math.round(value * 10) / 10));

const faint = (name) => colour(`color-mix(in srgb, ${name} 22%, transparent)`);

// The columns whose head is marked, as {label, values, lows, highs}; and the times of the rows.
const read = (figure) => {
  const heads = [...figure.querySelectorAll("thead th")];
  const rows = [...figure.querySelectorAll("tbody tr")];
  const value = (cell, name) => {
    const text = cell.dataset[name];
    return text === undefined || text === "" ? null : Number(text);
  };
  const series = heads.flatMap((head, place) => (head.dataset.series === undefined ? [] : [{
    label: head.textContent.trim(),
    values: rows.map((row) => value(row.children[place], "value")),
    lows: rows.map((row) => value(row.children[place], "low")),
    highs: rows.map((row) => value(row.children[place], "high")),
  }]));
  return { times: rows.map((row) => Date.parse(`${row.children[0].dataset.at}T00:00Z`) / 1000), series };
};

const base = (width, values, { times, half, top }) => {
  const shared = axis();
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 14, 0, 0],
    tzDate: inUtc,
    cursor: cursor(6),
    scales: {
      x: { time: true, range: () => [times[0] - half, times[times.length - 1] + half] },
      y: { range: top ? () => top : (_, low, high) => [0, Math.max(1, high * 1.05)] },
    },
    axes: [
      { ...shared, size: 28, space: 66, grid: { show: false }, values: (_, splits) => splits.map(dayOf) },
      { ...shared, size: 48, values: (_, found) => found.map(values) },
    ],
  };
};

const stacked = (figure, plot) => {
  const { times, series } = read(figure);
  const sums = times.map(() => 0);
  const layers = series.map(({ values }) => values.map((value, at) => (sums[at] += value ?? 0)));
  const width = widthOf(plot);
  const bars = uPlot.paths.bars({ size: [0.75, 44] });
  const options = base(width, number, { times, half: DAY / 2 });
  options.axes[1].incrs = WHOLE;
  // The tallest is drawn first, and each next one over it.
  const order = series.map((_, place) => place).reverse();
  options.series = [{}, ...order.map((place) => {
    const fill = colour(`var(--series-${place + 1})`);
    return { stroke: fill, fill, width: 0, paths: bars, points: { show: false } };
  })];
  const describe = (at) => {
    const nonzero = series.filter(({ values }) => values[at]);
    const parts = nonzero.slice(0, 5).map(({ label, values }) => `${label} ${number(values[at])}`);
    const rest = nonzero.length > parts.length ? ", …" : "";
    const split = series.length > 1 && parts.length ? ` (${parts.join(", ")}${rest})` : "";
    return `${dayOf(times[at])}: ${number(sums[at])}${split}`;
  };
  return { options, data: [times, ...order.map((place) => layers[place])], describe, last: times.length - 1 };
};

const shares = (figure, plot) => {
  const { times, series } = read(figure);
  const width = widthOf(plot);
  const bounds = series
    .flatMap(({ values, lows, highs }) => [...values, ...lows, ...highs])
    .filter((value) => value != null);
  const low = Math.max(0, Math.floor((Math.min(...bounds, 0.5) - 0.02) * 10) / 10);
  const step = times.length > 1 ? times[1] - times[0] : DAY;
  const options = base(width, percent, { times, half: step / 2, top: [low, 1] });
  options.series = [{}];
  options.bands = [];
  const data = [times];
  for (const [place, { values, lows, highs }] of series.entries()) {
    const name = `var(--series-${place + 1})`;
    options.series.push(
      { stroke: colour(name), width: 2, spanGaps: true, points: { show: true, size: 6, fill: colour(name) } },
      { stroke: "transparent", points: { show: false }, spanGaps: true },
      { stroke: "transparent", points: { show: false }, spanGaps: true },
    );
    options.bands.push({ series: [data.length + 1, data.length + 2], fill: faint(name) });
    data.push(values, highs, lows);
  }
  const shown = Math.max(1, Math.ceil(times.length / 6));
  options.axes[0].splits = () => times.filter((_, at) => (times.length - 1 - at) % shown === 0);
  // A point between two gaps has no band: each interval is a line as well.
  const whiskers = (chart) => {
    for (const [place, { lows, highs }] of series.entries()) {
      chart.ctx.strokeStyle = faint(`var(--series-${place + 1})`);
      chart.ctx.lineWidth = 3 * devicePixelRatio;
      for (const [at, seconds] of times.entries()) {
        if (lows[at] == null) continue;
        const x = chart.valToPos(seconds, "x", true);
        chart.ctx.beginPath();
        chart.ctx.moveTo(x, chart.valToPos(lows[at], "y", true));
        chart.ctx.lineTo(x, chart.valToPos(highs[at], "y", true));
        chart.ctx.stroke();
      }
    }
  };
  const describe = (at) => {
    const said = series.map(({ label, values, lows, highs }) => {
      const interval = lows[at] == null ? "" : ` (${Math.round(100 * lows[at])}–${percent(highs[at])})`;
      return `${series.length > 1 ? `${label} ` : ""}${percent(values[at])}${interval}`;
    });
    return `${dayOf(times[at])}: ${said.join(", ")}`;
  };
  return { options, data, describe, last: times.length - 1, hooks: { drawAxes: [whiskers] } };
};

const KINDS = { stacked, shares };
const charts = new Map();

const draw = (figure) => {
  const plot = figure.querySelector(".plot");
  const output = figure.querySelector("output");
  const { options, data, describe, last, hooks = {} } = KINDS[figure.dataset.chart](figure, plot);
  options.hooks = { ...hooks, setCursor: [(chart) => { output.textContent = describe(chart.cursor.idx ?? last); }] };
  charts.get(figure)?.destroy();
  charts.set(figure, new uPlot(options, data, plot));
  output.textContent = describe(last);
};

const drawAll = () => document.querySelectorAll("figure[data-chart]").forEach(draw);

keepDrawn({
  redraw: drawAll,
  charts: () => [...charts].map(([figure, chart]) => [chart, figure.querySelector(".plot")]),
  height: HEIGHT,
});
drawAll();
