// What all charts share: the page's own colours, axes, a cursor that only points, days of UTC, and drawing again when
// the colours or the width of the page change. uPlot draws.

const language = document.documentElement.lang || "en";
const inThisLanguage = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
const month = new Intl.DateTimeFormat("en-US", { month: "short", timeZone: "UTC" });

// value: as CSS has it, such as "var(--accent)".
export const colour = (value) => {
  // Custom properties hold light-dark(...): only a computed property has the colour that applies.
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = value;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

export const axis = () => ({
  stroke: colour("var(--muted)"),
  grid: { stroke: colour("var(--line)"), width: 1 },
  ticks: { show: false },
  font: "12px sans-serif",
});

// Steps of an axis that counts.
export const WHOLE = Array.from({ length: 7 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

// size: of the point under the cursor, in pixels
export const cursor = (size) => ({ y: false, drag: { x: false, y: false }, points: { size } });

export const widthOf = (plot) => Math.max(plot.clientWidth, 200);

// As pages write dates: 2 Nov, 11月2日. Browsers put the month first in English, and call September Sept in Britain.
export const dayOf = (seconds) => {
  const date = new Date(seconds * 1000);
  return language.startsWith("en") ? `${date.getUTCDate()} ${month.format(date)}` : inThisLanguage.format(date);
};

// As the filter count writes numbers: 12503 -> 12 503, with a space that keeps the digits together.
export const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

export const inUtc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");

// charts: a function that gives [chart, its plot] of each chart that is drawn now
export const keepDrawn = ({ redraw, charts, height }) => {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("resize", () => {
    for (const [chart, plot] of charts()) chart.setSize({ width: widthOf(plot), height });
  });
};
