// The fields of a task's form as a draft keeps them: [[name, value], ...] out of the page, {name: [values]} from the
// server.

// What belongs to the page or to another button, and is no part of a draft.
const LEFT_OUT = new Set([
  "csrfmiddlewaretoken", "client_id", "seconds", "rubric", "back", "report_reason", "report_note",
]);

const pairs = (fields) => {
  if (Array.isArray(fields)) return fields;
  return Object.entries(fields ?? {}).flatMap(([name, values]) => values.map((value) => [name, value]));
};

// Whether two sets of fields say the same; fields without a value don't count.
export const areEqual = (one, other) => {
  const flat = (fields) => JSON.stringify(pairs(fields).filter(([name, value]) => value && !LEFT_OUT.has(name)).sort());
  return flat(one) === flat(other);
};

export class FormFields {
  constructor(form) { this.form = form; }

  read() {
    return [...new FormData(this.form)].filter(([name, value]) => typeof value === "string" && !LEFT_OUT.has(name));
  }

  get seconds() { return this.form.elements.seconds?.value ?? ""; }

  // Fills the form in and dispatches "hone:filled" on it.
  fill(fields) {
    const given = new Map();
    for (const [name, value] of pairs(fields)) given.set(name, [...(given.get(name) ?? []), value]);
    for (const control of this.form.elements) {
      if (!control.name || LEFT_OUT.has(control.name) || control.type === "hidden") continue;
      const values = given.get(control.name) ?? [];
      const isGiven = values.includes(control.value);
      if (control.type === "radio") control.checked = values.length ? isGiven : control.value === "";
      else if (control.type === "checkbox") control.checked = isGiven;
      else if (control.type !== "submit" && control.type !== "button") control.value = values.at(-1) ?? "";
    }
    for (const area of this.form.querySelectorAll("details textarea")) {
      if (area.value) area.closest("details").open = true;
    }
    this.form.dispatchEvent(new CustomEvent("hone:filled"));
  }
}
