// Rendered Markdown on any page, also what htmx brings later: a copy button on code, LaTeX drawn by KaTeX, and whatever is
// wider than its column scrolls by itself and by keyboard.
"use strict";

(() => {
  const { katex: KATEX, katexStyle: KATEX_STYLE } = document.currentScript.dataset;
  const LONGEST_MATHEMATICS = 2000; // characters
  const MOST_MATHEMATICS = 500; // formulas drawn at once; the rest of a page keeps their source
  // A text may not define commands: a few lines of them can grow without end.
  const DEFINES = /\\(?:[gex]?def|let|futurelet|global|long|(?:re|provide)?newcommand|renewcommand|DeclareMathOperator)(?![a-zA-Z])/;
  const OPTIONS = { throwOnError: true, trust: false, strict: "ignore", maxExpand: 100, maxSize: 10, output: "htmlAndMathml" };

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
        hone.announce(gettext("Copied."));
      } catch {
        button.textContent = gettext("Not allowed");
        hone.announce(gettext("The browser does not allow copying. Select the code and copy it by hand."));
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
    loading ??= new Promise((resolve, reject) => {
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = KATEX_STYLE;
      const script = document.createElement("script");
      script.src = KATEX;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(style, script);
    });
    return loading;
  };

  // KaTeX writes a few styles as attributes, which the content security policy refuses. Through the object model, by which
  // it writes all others, they may be set.
  const withStyles = (deed) => {
    const { setAttribute } = Element.prototype;
    Element.prototype.setAttribute = function (name, value) {
      if (name === "style") this.style.cssText = value;
      else setAttribute.call(this, name, value);
    };
    try {
      deed();
    } finally {
      Element.prototype.setAttribute = setAttribute;
    }
  };

  const draw = (element) => {
    const source = element.textContent;
    if (source.length > LONGEST_MATHEMATICS || DEFINES.test(source)) return;
    const drawn = document.createElement("span");
    try {
      const displayMode = element.classList.contains("display");
      withStyles(() => katex.render(source, drawn, { ...OPTIONS, displayMode }));
    } catch {
      return; // not LaTeX that KaTeX knows: its source stays
    }
    element.replaceChildren(drawn.firstElementChild ?? drawn);
    element.classList.add("drawn");
    // A formula in the line that is wider than the line gets one of its own.
    const column = element.closest("p, li, td, th, blockquote, .prose");
    if (element.offsetWidth > column.clientWidth + 1) element.classList.add("wide");
    widths.observe(element);
  };

  const enrich = (root) => {
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

  hone.enrich = enrich;
  document.addEventListener("htmx:load", (event) => enrich(event.detail.elt.parentElement ?? event.detail.elt));
  enrich(document);
})();
