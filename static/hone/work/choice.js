// One choice at a time, above the task.

const place = document.getElementById("choice");

export const hideChoice = () => { place.hidden = true; };

// options: [label, action] each; `beforeAction` runs first, whichever is chosen
export const offerChoice = (sentence, options, { beforeAction = () => {} } = {}) => {
  const text = document.createElement("span");
  text.textContent = sentence;
  place.replaceChildren(text, ...options.map(([label, action]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = label;
    button.addEventListener("click", () => {
      hideChoice();
      beforeAction();
      action();
    });
    return button;
  }));
  place.hidden = false;
};
