// Loaded before the page is drawn, unlike the other scripts: what only they can do takes its place at once, and nothing
// moves under a finger a moment later.
document.documentElement.classList.add("scripted");
