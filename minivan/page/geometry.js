// What if, without a photo: the large kernel's side, its dilation, the near kernel, channels and the map's size; what an output
// then reads, where holes are, and what it costs.

import { byId, el, put, svg } from "./dom.js";
import { costs, dilatedSide, NEAR_RULES, spatialWeights, support, ways } from "./lka.js";
import { fixed } from "./numbers.js";
import { subscribe } from "./state.js";
import { sentence, t } from "./text.js";

const SLIDERS = { K: [3, 49, 21], d: [1, 8, 3], near: [1, 15, 5], C: [16, 512, 64], side: [4, 112, 56] };
const values = Object.fromEntries(Object.entries(SLIDERS).map(([name, [, , start]]) => [name, start]));

export function startGeometry() {
  for (const [name, [min, max, start]] of Object.entries(SLIDERS)) {
    const step = name === "C" ? 16 : 1;
    const input = el("input", { type: "range", id: `slider-${name}`, min, max, step, value: start });
    input.addEventListener("input", () => change(name, Number(input.value)));
    const label = el(
      "label",
      { for: `slider-${name}` },
      el("span", { "data-text": `slider_${name}` }),
      el("output", { id: `out-${name}` }),
    );
    byId("sliders").append(el("div", { class: "slider" }, label, input));
  }
  subscribe(["language"], draw);
}

function change(name, value) {
  values[name] = value;
  if (name === "d") values.near = NEAR_RULES.paper(value); // the paper's near kernel goes with its dilation
  values.d = Math.min(values.d, values.K);
  draw();
}

function draw() {
  for (const name of Object.keys(SLIDERS)) {
    byId(`slider-${name}`).value = values[name];
    byId(`out-${name}`).textContent = name === "near" ? `${values.near} × ${values.near}` : values[name];
  }
  const { K, d, near, C, side } = values;
  const reads = support(K, d, near);
  const counts = ways(K, d, near);
  const gaps = reads * reads - counts.filter((count) => count > 0).length ** 2;
  put(byId("footprint"), footprint(counts, reads));
  const facts = {
    K: String(K),
    reads: String(reads),
    far: String(dilatedSide(K, d)),
    d: String(d),
    near: String(near),
    gaps: String(gaps),
  };
  put(byId("footprint-said"), sentence(gaps ? "footprint_gaps" : "footprint_whole", facts));
  byId("footprint-said").classList.toggle("gap", gaps > 0);
  put(byId("cost-curve"), curve(K, d));
  put(byId("cost-bars"), bars(costs(K, d, near, C, side * side), side));
}

// How many ways lead from each place to the output: darker is more, red is none.
function footprint(counts, reads) {
  const most = Math.max(...counts) ** 2;
  const cells = counts.flatMap((down, r) =>
    counts.map((right, c) => {
      const count = down * right;
      const kind = count === 0 ? "cell gap" : "cell";
      return svg("rect", {
        x: c + 0.04,
        y: r + 0.04,
        width: 0.92,
        height: 0.92,
        class: kind,
        "fill-opacity": count ? 0.25 + (0.75 * count) / most : 1,
      });
    }),
  );
  const middle = Math.floor((reads - 1) / 2);
  const output = svg("rect", { x: middle, y: middle, width: 1, height: 1, class: "output" });
  return svg(
    "svg",
    { viewBox: `-0.5 -0.5 ${reads + 1} ${reads + 1}`, role: "img", "aria-label": t("footprint_label", { reads }) },
    cells,
    output,
  );
}

// Weights per channel for every dilation, with the paper's near kernel and with the least that leaves no gap.
function curve(K, chosen) {
  const dilations = Array.from({ length: 8 }, (_, i) => i + 1).filter((d) => d <= K);
  const rows = Object.entries(NEAR_RULES).map(([rule, side]) => [rule, dilations.map((d) => spatialWeights(K, d, side(d)))]);
  const top = Math.max(...rows[0][1].slice(1), ...rows[1][1].slice(1), 10) * 1.15;
  const x = (d) => 34 + ((d - 1) / 7) * 250;
  const y = (cost) => 128 - 112 * Math.min(1, cost / top);
  const lines = rows.map(([rule, costs]) => {
    const points = costs.map((cost, i) => `${x(dilations[i])},${y(cost)}`).join(" ");
    const least = costs.indexOf(Math.min(...costs));
    const label = svg(
      "text",
      { x: x(dilations[least]), y: y(costs[least]) + (rule === "least" ? 15 : -8), class: `least ${rule}` },
      String(costs[least]),
    );
    return svg(
      "g",
      { class: rule },
      svg("polyline", { points }),
      costs.map((cost, i) => svg("circle", { cx: x(dilations[i]), cy: y(cost), r: dilations[i] === chosen ? 5 : 3 })),
      label,
    );
  });
  const ticks = dilations.map((d) => svg("text", { x: x(d), y: 146, class: "tick" }, String(d)));
  const axis = svg("line", { x1: 26, y1: 128, x2: 292, y2: 128, class: "axis" });
  const chart = svg("svg", { viewBox: "0 0 300 152", role: "img", "aria-label": t("curve_label", { K }) }, axis, lines, ticks);
  const keys = Object.keys(NEAR_RULES).map((rule) => el("span", { class: `key ${rule}` }, t(`rule_${rule}`)));
  return el("div", {}, el("h4", { class: "fine" }, t("curve_title")), chart, el("p", { class: "keys" }, keys));
}

// Multiply-adds of one attention, projections on both sides included.
function bars(found, side) {
  const longest = Math.max(...Object.values(found));
  const rows = Object.entries(found).map(([kind, cost]) => {
    const bar = el("span", { class: `share ${kind}` });
    bar.style.width = `${Math.max(0.5, (100 * cost) / longest)}%`;
    return el(
      "li",
      {},
      el("span", { class: "label" }, t(`cost_${kind}`)),
      el("span", { class: "track" }, bar),
      el("span", { class: "p" }, millions(cost)),
    );
  });
  return [
    el("h4", { class: "fine" }, t("cost_title", { side })),
    el("ol", { class: "classes costs" }, rows),
    el("p", { class: "note" }, t("cost_note")),
  ];
}

function millions(count) {
  return count < 1e9 ? `${fixed(count / 1e6, 1)} M` : `${fixed(count / 1e9, 2)} G`;
}
