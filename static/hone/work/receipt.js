// What became of the last submission, in the line above the task, with a way to undo it for a few seconds.

import { announce } from "../messages.js";
import * as frame from "./frame.js";
import * as keys from "./keys.js";

const UNDO_SECONDS = 5;
let undoTimer = 0;

// Looked up anew: htmx replaces it.
const place = () => document.getElementById("receipt");

const expireUndo = () => {
  clearTimeout(undoTimer);
  undoTimer = setTimeout(() => document.querySelector("#receipt form[data-undo]")?.remove(), UNDO_SECONDS * 1000);
};

export const keepUndo = () => clearTimeout(undoTimer);

export const showReceipt = (...parts) => {
  clearTimeout(undoTimer);
  place().replaceChildren(...parts);
};

export const receiptLine = (sentence, kind = "done") => {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = sentence;
  return line;
};

export const undoButton = (action) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button small";
  button.textContent = gettext("Undo");
  button.dataset.undo = "";
  button.addEventListener("click", action);
  return button;
};

// Another receipt of the server is in place: it is read out together with the title of the task below it.
export const receiptChanged = (title) => {
  frame.showDone(Number(place().dataset.done));
  keys.label(place());
  announce(`${place().querySelector(".done")?.textContent ?? ""} ${title}`.trim());
  expireUndo();
};

// receipt: the element of a reply
export const putReceipt = (receipt, title) => {
  place().replaceChildren(...receipt.childNodes);
  place().dataset.done = receipt.dataset.done;
  receiptChanged(title);
};
