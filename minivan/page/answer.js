// The likeliest classes as a list of bars.

import { el } from "./dom.js";
import { best } from "./network.js";
import { percent } from "./numbers.js";

export function classBars(probabilities, count) {
  const rows = best(probabilities, count).map(({ label, probability }) => {
    const bar = el("span", { class: "share" });
    bar.style.width = `${100 * probability}%`;
    const name = el("span", { class: "label" }, label);
    return el("li", {}, name, el("span", { class: "track" }, bar), el("span", { class: "p" }, percent(probability)));
  });
  return el("ol", { class: "classes" }, rows);
}
