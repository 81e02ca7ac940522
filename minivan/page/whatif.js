// What if, with the trained weights: change one thing in every block and see the answer; paint over the photo and see how far
// that reaches. None of these networks was trained again, and the page says so wherever one answers.

import { beforeAndAfter } from "./answer.js";
import { scaleOf, paint } from "./colours.js";
import { byId, el, put } from "./dom.js";
import { stepped } from "./maps.js";
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
const STEP = 4; // pixels that an arrow key moves the brush
const LEAST = 0.01; // what a place of a stage has changed by at least, where it is counted

// Run the network on an input; until it answers, an element says so, and where it cannot, why. Returns the answer, or null,
// also where the same element has asked again meanwhile.
export async function asked(place, input, options) {
  put(place, t("computing"));
  try {
    return await run(input, { ...options, asker: place.id });
  } catch (error) {
    put(place, t("worker_failed", { message: error.message }));
    return null;
  }
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

let latest = { photo: null, change: "none", answer: null };

async function drawChange() {
  for (const input of byId("changes").querySelectorAll("input")) input.checked = input.value === state.change;
  const { photo } = shown;
  if (!photo) return;
  const { change } = state;
  const place = byId("change-answer");
  if (change === "none") {
    put(place, el("p", { class: "note" }, t("choose_change")));
    return;
  }
  if (latest.photo !== photo || latest.change !== change) {
    const answer = await asked(place, photo.input, { change });
    if (!answer || change !== state.change || photo !== shown.photo) return;
    latest = { photo, change, answer };
  }
  put(place, changedAnswer(change, latest.answer));
}

// The answer before and after a change, and the accuracy on the labelled images where the page knows it.
export function changedAnswer(change, { probabilities }) {
  const accuracy = accuracyWith(change);
  return el(
    "div",
    {},
    el("p", { class: "warning" }, t("after_training")),
    beforeAndAfter(shown.photo.probabilities, probabilities),
    accuracy && el("p", { class: "figures" }, accuracy),
  );
}

// What is left of the accuracy on the labelled images with a change; null for weights with which it was not measured.
export function accuracyWith(change) {
  const { figures } = description;
  if (figures?.[change] === undefined) return null;
  const [before, after] = [figures.none, figures[change]].map((right) => percent(right / figures.images));
  return t("figures", { before, after, images: figures.images });
}

// --- poke -------------------------------------------------------------------------------------------------------------

const poked = { squares: [], input: null, answer: null };

function startPoking() {
  const canvas = byId("poke");
  canvas.addEventListener("click", (event) => {
    if (event.detail === 0) return; // made by a key, which says for itself what it does
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    paintGrey((event.clientY - box.top) * scale, (event.clientX - box.left) * scale);
  });
  let cursor = null;
  canvas.addEventListener("keydown", (event) => {
    const { height, width } = canvas;
    cursor ??= { row: height >> 1, column: width >> 1 };
    const place = stepped(event, cursor, height, width, STEP);
    if (place) cursor = place;
    else if (event.key === "Enter" || event.key === " ") paintGrey(cursor.row, cursor.column);
    else return;
    drawPoked(cursor);
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
  poked.squares.push({ row: Math.round(row), column: Math.round(column) });
  const data = input.data.slice();
  for (const square of poked.squares) {
    for (let r = Math.max(0, square.row - BRUSH); r < Math.min(side, square.row + BRUSH); r++) {
      for (let c = Math.max(0, square.column - BRUSH); c < Math.min(side, square.column + BRUSH); c++) {
        for (let k = 0; k < 3; k++) data[(k * side + r) * side + c] = 0;
      }
    }
  }
  poked.input = { data, shape: input.shape };
  drawPoked();
  const painted = poked.input;
  const answer = await asked(byId("poke-reach"), painted, { wanted: "stages" });
  if (!answer || poked.input !== painted) return; // more was painted meanwhile, or another photo has come
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
    el("p", { class: "note" }, t("reach_least", { least: LEAST })),
    beforeAndAfter(shown.photo.probabilities, answer.probabilities),
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
  const touched = magnitudes.filter((value) => value > LEAST).length;
  return el("figure", { class: "reach" }, canvas, el("figcaption", {}, t("reach_said", { stage, touched, all: h * w })));
}
