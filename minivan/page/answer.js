// The likeliest classes as a list of bars.

import { el } from "./dom.js";
import { best, labelLanguage } from "./network.js";
import { percent } from "./numbers.js";
import { t } from "./text.js";

export function classBars(probabilities, count) {
  const rows = best(probabilities, count).map(({ label, probability }) => {
    const bar = el("span", { class: "share" });
    bar.style.width = `${100 * probability}%`;
    const name = el("span", { class: "label", lang: labelLanguage }, label);
    return el("li", {}, name, el("span", { class: "track" }, bar), el("span", { class: "p" }, percent(probability)));
  });
  return el("ol", { class: "classes" }, rows);
}

// Two lists of classes side by side: what the network says before something is done to it, and after.
export function beforeAndAfter(before, after) {
  const lists = [
    ["before", before],
    ["after", after],
  ].map(([key, probabilities]) =>
    el("div", { class: `answer ${key}` }, el("h4", { class: "fine" }, t(key)), classBars(probabilities, 3)),
  );
  return el("div", { class: "pair" }, lists);
}
