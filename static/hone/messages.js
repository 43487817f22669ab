// Sentences for the person: announced to screen readers, or shown as a notice at the top of the page.

export const announce = (sentence) => {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  // A later frame, so that the same sentence twice is spoken twice.
  requestAnimationFrame(() => { announcer.textContent = sentence; });
};

// kind: "ok", "warn" or "error", as the style sheet has them
export const showNotice = (sentence, kind) => {
  const notice = document.createElement("p");
  notice.className = `notice ${kind}`;
  notice.textContent = sentence;
  document.getElementById("messages").replaceChildren(notice);
  notice.scrollIntoView({ block: "nearest" });
};
