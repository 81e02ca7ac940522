// One block as one strip: every layer of it as the chosen channel's map, with LKA unfolded and the residuals as arcs.

import { paint, scaleOf } from "./colours.js";
import { byId, el, put, svg } from "./dom.js";
import { blocks, map, shown } from "./network.js";
import { stageOf, state, subscribe } from "./state.js";
import { t } from "./text.js";
import { CONV0, CONV_SPATIAL, UNIT } from "./van.js";

const STEP = 71; // CSS pixels from one node to the next; page.css makes a node as wide
const NODES = [
  // what the hook calls it under the block, how it is written, and whether it belongs to LKA
  ["", "x"],
  ["norm1", "norm"],
  ["attn.proj_1", "proj_1"],
  ["attn.activation", "GELU = u"],
  [`${UNIT}.conv0`, `${CONV0.side}×${CONV0.side}`, "lka"],
  [`${UNIT}.conv_spatial`, `${CONV_SPATIAL.side}×${CONV_SPATIAL.side} d${CONV_SPATIAL.dilation}`, "lka"],
  [`${UNIT}.conv1`, "1×1", "lka"],
  [UNIT, "u × ", "lka"],
  ["attn.proj_2", "proj_2"],
  ["attn", "+ norm"],
  ["layer_scale_1", "+ x"],
  ["norm2", "norm"],
  ["mlp.fc1", "fc1"],
  ["mlp.dwconv.dwconv", "3×3"],
  ["mlp.act", "GELU"],
  ["mlp.fc2", "fc2"],
  ["out", "+ x"],
];
const ARCS = [
  [3, 7, "lka"],
  [1, 9, ""],
  [0, 10, ""],
  [10, 16, ""],
]; // from a node, to the node where it is multiplied or added

export function startStrip() {
  subscribe(["photo", "block", "channel", "language"], drawStrip);
}

// The path of what goes into a block: the block before it, or its stage's patch embedding.
function inputOf(block) {
  const before = blocks[blocks.indexOf(block) - 1];
  return before && stageOf(before) === stageOf(block) ? before : `patch_embed${stageOf(block)}.norm`;
}

function pathOf(name) {
  if (name === "") return inputOf(state.block);
  return name === "out" ? state.block : `${state.block}.${name}`;
}

function drawStrip() {
  if (!shown.photo) return;
  const nodes = NODES.map(([name, text, kind = ""], i) => {
    const { values, h, w } = map(pathOf(name), state.channel);
    const canvas = el("canvas", { role: "img", "aria-label": `${pathOf(name)}, ${t("channel", { channel: state.channel })}` });
    paint(canvas, values, h, w, scaleOf(values));
    const label = i === 7 ? `u × ${t("attention_short")}` : text;
    return el("li", { class: `node ${kind}`, title: pathOf(name) }, canvas, el("span", { class: "name" }, label));
  });
  put(byId("strip"), arcs(), el("ol", { class: "nodes" }, nodes), groups());
}

function arcs() {
  const middle = (node) => node * STEP + STEP / 2;
  const lines = ARCS.map(([from, to, kind]) => {
    const [start, end, rise] = [middle(from), middle(to), 14 + 2.6 * (to - from)];
    const top = 52 - rise;
    const up = `M${start},52 C${start},${top} ${start},${top} ${start + 16},${top}`;
    const path = `${up} L${end - 16},${top} C${end},${top} ${end},${top} ${end},50`;
    return svg("path", { d: path, class: `arc ${kind}`, "marker-end": "url(#tip)" });
  });
  const tip = svg(
    "marker",
    { id: "tip", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" },
    svg("path", { d: "M0,0 L8,4 L0,8 z" }),
  );
  const width = NODES.length * STEP;
  return svg(
    "svg",
    { class: "arcs", width, height: 54, viewBox: `0 0 ${width} 54`, "aria-hidden": "true" },
    svg("defs", {}, tip),
    lines,
  );
}

function groups() {
  const group = (from, to, text, kind) => {
    const label = el("span", { class: `group ${kind}` }, text);
    label.style.left = `${from * STEP + 6}px`;
    label.style.width = `${(to - from + 1) * STEP - 12}px`;
    return label;
  };
  return el(
    "div",
    { class: "groups" },
    group(1, 9, t("group_attention"), ""),
    group(4, 7, t("group_lka"), "lka"),
    group(11, 15, t("group_mlp"), ""),
  );
}
