// What this browser keeps for a person. It may be full, or forbidden altogether: then `set` returns false.

export const key = (kind, rest = "") => `hone.${kind}.${document.querySelector(".workplace").dataset.user}${rest}`;

export const get = (name) => {
  try { return JSON.parse(localStorage.getItem(name)); } catch { return null; }
};

export const set = (name, value) => {
  try { localStorage.setItem(name, JSON.stringify(value)); return true; } catch { return false; }
};

export const remove = (name) => {
  try { localStorage.removeItem(name); } catch { /* nothing was kept there */ }
};
