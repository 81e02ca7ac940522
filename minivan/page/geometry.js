// What if, without a photo: the large kernel's side, its dilation, the near kernel, channels and the map's size; what an output
// then reads, where holes are, and what it costs.

import { byId, el, put, svg } from "./dom.js";
import { costs, dilatedSide, LARGE_KERNEL, NEAR_RULES, outputAt, spatialWeights, support, ways } from "./lka.js";
import { fixed } from "./numbers.js";
import { subscribe } from "./state.js";
import { sentence, t } from "./text.js";
import { CONV0, CONV_SPATIAL } from "./van.js";

const SLIDERS = {
  K: [3, 49, LARGE_KERNEL],
  d: [1, 8, CONV_SPATIAL.dilation],
  near: [1, 15, CONV0.side],
  C: [16, 512, 64],
  side: [4, 112, 56],
}; // from, to, and where it begins: the network's own kernels
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
  put(byId("footprint"), footprint(counts, reads, outputAt(K, d, near)));
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
function footprint(counts, reads, at) {
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
  const output = svg("rect", { x: at, y: at, width: 1, height: 1, class: "output" });
  return svg(
    "svg",
    { viewBox: `-0.5 -0.5 ${reads + 1} ${reads + 1}`, role: "img", "aria-label": t("footprint_label", { reads }) },
    cells,
    output,
  );
}

// Weights per channel for every dilation, with the paper's near kernel and with the least that leaves no gap, from zero on. The
// numbers written are the largest of all and the least of each.
function curve(K, chosen) {
  const dilations = Array.from({ length: SLIDERS.d[1] }, (_, i) => i + 1).filter((d) => d <= K);
  const rows = Object.entries(NEAR_RULES).map(([rule, side]) => [rule, dilations.map((d) => spatialWeights(K, d, side(d)))]);
  const top = Math.max(...rows.flatMap(([, counts]) => counts));
  const [left, bottom, width, height] = [34, 176, 250, 152];
  const x = (d) => left + ((d - 1) / (SLIDERS.d[1] - 1)) * width;
  const y = (count) => bottom - (height * count) / top;
  const written = (d, count, across, down, kind) =>
    svg("text", { x: x(d) + across, y: y(count) + down, class: `count ${kind}` }, String(count));
  const lines = rows.map(([rule, counts]) => {
    const points = counts.map((count, i) => `${x(dilations[i])},${y(count)}`).join(" ");
    const least = counts.indexOf(Math.min(...counts));
    return svg(
      "g",
      { class: rule },
      svg("polyline", { points }),
      counts.map((count, i) => svg("circle", { cx: x(dilations[i]), cy: y(count), r: dilations[i] === chosen ? 5 : 3 })),
      written(dilations[least], counts[least], 0, rule === "least" ? 15 : -8, "middle"),
    );
  });
  const largest = rows[0][1].indexOf(top); // no near kernel of the paper's is smaller than the least
  const most = written(dilations[largest], top, largest === 0 ? 9 : -9, 4, largest === 0 ? "" : "end");
  const ticks = dilations.map((d) => svg("text", { x: x(d), y: bottom + 24, class: "tick" }, String(d)));
  const axis = svg("line", { x1: left - 8, y1: bottom, x2: left + width + 8, y2: bottom, class: "axis" });
  const label = t("curve_label", { K });
  const chart = svg("svg", { viewBox: "0 0 300 206", role: "img", "aria-label": label }, axis, lines, most, ticks);
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
