// What if, with the trained weights: change one thing in every block and see the answer; paint over the photo and see how far
// that reaches. None of these networks was trained again, and the page says so wherever one answers.

import { classBars } from "./answer.js";
import { scaleOf, paint } from "./colours.js";
import { byId, el, put } from "./dom.js";
import { config, description, layer, run, shown } from "./network.js";
import { percent } from "./numbers.js";
import { set, state, subscribe } from "./state.js";
import { t } from "./text.js";

export const CHANGES = [
  "none",
  "one",
  "mean",
  "sigmoid",
  "add",
  "taps5",
  "taps3",
  "taps1",
  "dilation1",
  "dilation2",
  "dilation4",
  "dilation5",
];
const BRUSH = 7; // pixels of the network's view, half the side of what a click paints over

export function ask(change) {
  return run(shown.photo.input, { change });
}

export function startWhatIf() {
  const options = CHANGES.map((change) => {
    const input = el("input", { type: "radio", name: "change", value: change, onchange: () => set({ change }) });
    return el("label", { class: "option" }, input, el("span", { "data-text": `change_${change}` }));
  });
  put(byId("changes"), options);
  subscribe(["change", "photo", "language"], drawChange);
  startPoking();
}

async function drawChange() {
  for (const input of byId("changes").querySelectorAll("input")) input.checked = input.value === state.change;
  if (!shown.photo) return;
  const { change, photo } = state;
  if (change === "none") return put(byId("change-answer"), el("p", { class: "note" }, t("choose_change")));
  put(byId("change-answer"), t("computing"));
  const answer = await ask(change);
  if (change === state.change && photo === state.photo) put(byId("change-answer"), beforeAndAfter(change, answer));
  return null;
}

// Two lists of classes side by side, and the accuracy on the labelled images where the page knows it.
export function beforeAndAfter(change, after) {
  const figures = description.figures;
  const lists = [
    ["before", shown.photo.probabilities],
    ["after", after.probabilities],
  ].map(([key, probabilities]) =>
    el("div", { class: `answer ${key}` }, el("h4", { class: "fine" }, t(key)), classBars(probabilities, 3)),
  );
  const accuracy =
    figures?.[change] !== undefined &&
    el(
      "p",
      { class: "figures" },
      t("figures", {
        before: percent(figures.none / figures.images),
        after: percent(figures[change] / figures.images),
        images: figures.images,
      }),
    );
  return el("div", {}, el("p", { class: "warning" }, t("after_training")), el("div", { class: "pair" }, lists), accuracy);
}

// --- poke -------------------------------------------------------------------------------------------------------------

const poked = { squares: [], input: null, answer: null };

function startPoking() {
  const canvas = byId("poke");
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    paintGrey((event.clientY - box.top) * scale, (event.clientX - box.left) * scale);
  });
  const cursor = { row: 48, column: 48 };
  canvas.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowUp: [-4, 0], ArrowDown: [4, 0], ArrowLeft: [0, -4], ArrowRight: [0, 4] }[event.key] ?? [0, 0];
    if (event.key === "Enter" || event.key === " ") paintGrey(cursor.row, cursor.column);
    else if (!down && !right) return;
    cursor.row = Math.max(0, Math.min(canvas.height - 1, cursor.row + down));
    cursor.column = Math.max(0, Math.min(canvas.width - 1, cursor.column + right));
    drawPoked(down || right ? cursor : null);
    event.preventDefault();
  });
  byId("unpoke").addEventListener("click", clear);
  subscribe(["photo"], clear);
  subscribe(["language"], drawReaches);
}

function clear() {
  if (!shown.photo) return;
  Object.assign(poked, { squares: [], input: null, answer: null });
  drawPoked();
  drawReaches();
}

function drawPoked(cursor = null) {
  const canvas = byId("poke");
  const { input } = shown.photo;
  const side = input.shape[3];
  const context = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  const { mean, std } = description.preprocessing;
  const data = poked.squares.length ? poked.input.data : input.data;
  for (let p = 0; p < side * side; p++) {
    for (let k = 0; k < 3; k++) image.data[4 * p + k] = 255 * (data[k * side * side + p] * std[k] + mean[k]);
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  if (!cursor) return;
  context.strokeStyle = "white";
  context.strokeRect(cursor.column - BRUSH, cursor.row - BRUSH, 2 * BRUSH, 2 * BRUSH);
}

// Grey is the network's zero: the mean colour of the photos that it was trained on.
async function paintGrey(row, column) {
  const { input } = shown.photo;
  const side = input.shape[3];
  poked.squares.push({ row, column });
  const data = input.data.slice();
  for (const square of poked.squares) {
    for (let r = Math.max(0, Math.round(square.row) - BRUSH); r < Math.min(side, square.row + BRUSH); r++) {
      for (let c = Math.max(0, Math.round(square.column) - BRUSH); c < Math.min(side, square.column + BRUSH); c++) {
        for (let k = 0; k < 3; k++) data[(k * side + r) * side + c] = 0;
      }
    }
  }
  poked.input = { data, shape: input.shape };
  drawPoked();
  const painted = poked.input;
  const answer = await run(painted, { wanted: "stages" });
  if (poked.input !== painted) return; // more was painted meanwhile, or another photo has come
  poked.answer = answer;
  drawReaches();
}

function drawReaches() {
  const { answer } = poked;
  if (!answer) {
    put(byId("poke-reach"), el("p", { class: "note" }, t("poke_hint")));
    return;
  }
  const stages = config.dims.map((_, i) => drawReach(i + 1, answer.layers[`norm${i + 1}`]));
  put(
    byId("poke-reach"),
    el("div", { class: "reaches" }, stages),
    el(
      "div",
      { class: "pair" },
      [
        ["before", shown.photo.probabilities],
        ["after", answer.probabilities],
      ].map(([key, p]) => el("div", { class: "answer" }, el("h4", { class: "fine" }, t(key)), classBars(p, 3))),
    ),
  );
}

// How much each position of a stage has changed: the root mean square over its channels.
function drawReach(stage, after) {
  const {
    data,
    shape: [, channels, h, w],
  } = layer(`norm${stage}`);
  const changes = new Float32Array(h * w);
  for (let p = 0; p < data.length; p++) changes[p % (h * w)] += (after.data[p] - data[p]) ** 2 / channels;
  const magnitudes = changes.map(Math.sqrt);
  const canvas = el("canvas", { role: "img", "aria-label": t("reach_map", { stage }) });
  paint(canvas, magnitudes, h, w, scaleOf(magnitudes));
  const touched = magnitudes.filter((value) => value > 0.01).length;
  return el("figure", { class: "reach" }, canvas, el("figcaption", {}, t("reach_said", { stage, touched, all: h * w })));
}
