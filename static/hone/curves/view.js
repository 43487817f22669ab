// What a person has set of the charts: smoothing, logarithmic scale, steps, search. It stands in the page's address, so
// that the address shows the same charts to somebody else.

const form = document.getElementById("chart-tools");

const integer = (text) => (/^\d{1,9}$/.test(text) ? Number(text) : null);

const read = () => ({
  smoothing: Math.min(0.99, Math.max(0, Number(form.elements.smooth.value) || 0)),
  log: form.elements.log.checked,
  low: integer(form.elements.low.value),
  high: integer(form.elements.high.value),
  words: form.elements.q.value.trim().toLowerCase(),
});

export const view = read();

const keepAddress = () => {
  const address = new URL(location.href);
  const values = {
    smooth: view.smoothing ? String(view.smoothing) : "",
    log: view.log ? "1" : "",
    low: view.low ?? "",
    high: view.high ?? "",
    q: form.elements.q.value.trim(),
  };
  for (const [name, value] of Object.entries(values)) {
    if (value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  if (address.href !== location.href) history.replaceState(history.state, "", address);
};

const listeners = [];

// changed: what of the view is another now: "drawing", "steps" or "words"
export const onChange = (listener) => listeners.push(listener);

const apply = () => {
  const before = { ...view };
  Object.assign(view, read());
  form.querySelector("output").textContent = view.smoothing.toFixed(2);
  keepAddress();
  const changed = new Set();
  if (before.words !== view.words) changed.add("words");
  if (before.low !== view.low || before.high !== view.high) changed.add("steps");
  if (before.smoothing !== view.smoothing || before.log !== view.log) changed.add("drawing");
  for (const listener of changed.size ? listeners : []) listener(changed);
};

// Both null: all steps.
export const showSteps = (low, high) => {
  form.elements.low.value = low ?? "";
  form.elements.high.value = high ?? "";
  apply();
};

form.addEventListener("input", (event) => { if (event.target.name !== "with") apply(); });
form.querySelector("[data-all-steps]").addEventListener("click", () => showSteps(null, null));
form.querySelectorAll("[data-scripted]").forEach((element) => { element.hidden = false; });
form.querySelector("output").textContent = view.smoothing.toFixed(2);
