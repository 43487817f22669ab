// Rendered Markdown on any page, also what htmx brings later: a copy button on code, LaTeX drawn by KaTeX, and whatever
// is wider than its column scrolls by itself and by keyboard.

import { announce } from "./messages.js";

const LONGEST_MATHEMATICS = 2000; // characters
const MOST_MATHEMATICS = 500; // formulas drawn at once; the rest of a page keeps their source
// A text may not define commands: a few lines of them can grow without end.
const DEFINING = "[gex]?def|let|futurelet|global|long|(?:re|provide)?newcommand|renewcommand|DeclareMathOperator";
const DEFINES = new RegExp(`\\\\(?:${DEFINING})(?![a-zA-Z])`);
const OPTIONS = {
  throwOnError: true, trust: false, strict: "ignore", maxExpand: 100, maxSize: 10, output: "htmlAndMathml",
};

// ---- code ----
const copyText = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without HTTPS there is only the old way: a selection.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("refused");
};

const addCopyButton = (pre) => {
  const block = document.createElement("div");
  block.className = "code-block";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = gettext("Copy");
  button.setAttribute("aria-label", gettext("Copy the code"));
  button.addEventListener("click", async () => {
    try {
      await copyText(pre.querySelector("code").textContent);
      button.textContent = gettext("Copied");
      announce(gettext("Copied."));
    } catch {
      button.textContent = gettext("Not allowed");
      announce(gettext("The browser does not allow copying. Select the code and copy it by hand."));
    }
    setTimeout(() => { button.textContent = gettext("Copy"); }, 2000);
  });
  pre.replaceWith(block);
  block.append(pre, button);
};

// ---- what is wider than its column ----
const mindWidth = (element) => {
  const isWide = element.scrollWidth > element.clientWidth + 1;
  if (isWide) element.tabIndex = 0;
  else element.removeAttribute("tabindex");
};
const widths = new ResizeObserver((entries) => entries.forEach((entry) => mindWidth(entry.target)));

// ---- LaTeX ----
let loading = null;
const load = () => {
  if (loading) return loading;
  const { katex, katexStyle } = document.querySelector("script[data-katex]").dataset;
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: katexStyle });
  const script = Object.assign(document.createElement("script"), { src: katex });
  // Both: without its style sheet a formula is measured wider than it is, and gets a line of its own.
  loading = Promise.all([style, script].map((part) => new Promise((resolve, reject) => {
    part.onload = resolve;
    part.onerror = reject;
  })));
  document.head.append(style, script);
  return loading;
};

// KaTeX writes a few styles as attributes, which the content security policy refuses wherever a parser meets them. They
// travel under another name and are set through the object model, which the policy allows. KaTeX escapes quotes in all
// that it takes over from the source, so that no text of a formula can contain ` style="`.
const render = (source, options) => {
  const html = katex.renderToString(source, options).replaceAll(' style="', ' data-style="');
  const drawn = document.adoptNode(new DOMParser().parseFromString(html, "text/html").body.firstElementChild);
  for (const element of [drawn, ...drawn.querySelectorAll("[data-style]")]) {
    if (element.dataset.style === undefined) continue;
    element.style.cssText = element.dataset.style;
    delete element.dataset.style;
  }
  return drawn;
};

const draw = (element) => {
  const source = element.textContent;
  if (source.length > LONGEST_MATHEMATICS || DEFINES.test(source)) return;
  try {
    element.replaceChildren(render(source, { ...OPTIONS, displayMode: element.classList.contains("display") }));
  } catch {
    return; // not LaTeX that KaTeX knows: its source stays
  }
  element.classList.add("drawn");
  // A formula in the line that is wider than the line gets one of its own.
  const column = element.closest("p, li, td, th, blockquote, .prose");
  if (element.offsetWidth > column.clientWidth + 1) element.classList.add("wide");
  widths.observe(element);
};

export const enrich = (root) => {
  for (const pre of root.querySelectorAll(".prose pre:not(.code-block > pre)")) {
    addCopyButton(pre);
    widths.observe(pre);
  }
  for (const table of root.querySelectorAll(".prose table")) widths.observe(table);
  const formulas = [...root.querySelectorAll(".prose .math:not(.seen)")].slice(0, MOST_MATHEMATICS);
  if (!formulas.length) return;
  formulas.forEach((element) => element.classList.add("seen"));
  load().then(() => {
    formulas.filter((element) => element.isConnected).forEach(draw);
    formulas.forEach((element) => element.classList.add("tried"));
  }, () => {});
};

document.addEventListener("htmx:load", (event) => enrich(event.detail.elt.parentElement ?? event.detail.elt));
enrich(document);
