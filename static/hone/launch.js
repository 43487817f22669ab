// The form of a new run: a search among its settings, and those without effect hidden. Works without this, all shown.

const form = document.querySelector("form.launch");
const search = form?.querySelector("#find-setting");
const settings = [...(form?.querySelectorAll(".setting") ?? [])];
const subjects = [...(form?.querySelectorAll("details.subject") ?? [])];
const opened = new Map(subjects.map((subject) => [subject, subject.open]));

const hasEffect = (setting) => {
  const other = setting.dataset.onlyWith && form.elements[setting.dataset.onlyWith];
  return !other || setting.dataset.values.split(" ").includes(other.value);
};

const show = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const setting of settings) {
    const name = setting.querySelector("[name^=set_]")?.name.slice("set_".length) ?? "";
    const text = `${setting.textContent} ${name}`.toLowerCase();
    const isFound = words.every((word) => text.includes(word));
    // A setting with an error stays in sight, whatever it applies to.
    setting.hidden = !isFound || (!hasEffect(setting) && !setting.querySelector(".wrong"));
  }
  for (const subject of subjects) {
    subject.hidden = !subject.querySelector(".setting:not([hidden])");
    subject.open = words.length ? !subject.hidden : opened.get(subject);
  }
  form.querySelector(".nothing-found").hidden = settings.some((setting) => !setting.hidden);
};

if (form) {
  search.closest(".search").hidden = false;
  search.addEventListener("input", (event) => { event.stopPropagation(); show(); });
  search.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  form.addEventListener("change", show);
  form.addEventListener("toggle", (event) => {
    if (!search.value && opened.has(event.target)) opened.set(event.target, event.target.open);
  }, true);
  // A link to a field in a folded group, and a field that the browser refuses, open it.
  const reveal = (field) => {
    const subject = field?.closest("details.subject");
    if (subject) subject.open = true;
  };
  form.addEventListener("click", (event) => {
    const link = event.target.closest("#estimate a[href^='#']");
    if (link) reveal(document.getElementById(link.hash.slice(1)));
  });
  form.addEventListener("invalid", (event) => reveal(event.target), true);
  show();
}
