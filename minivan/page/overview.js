// The whole network at one glance: the photo and all channels of the four stages, every pixel and every position equally large.

import { classBars } from "./answer.js";
import { colour, scaleOf } from "./colours.js";
import { byId, el, put } from "./dom.js";
import { beginning } from "./hook.js";
import { blocks, config, description, layer, shown } from "./network.js";
import { set, stageOf, state, subscribe } from "./state.js";
import { t } from "./text.js";

const CELL = 2; // CSS pixels for each position of a stage, and for each pixel of the photo
const COLUMNS = [6, 8, 12, 12]; // channels side by side
const NARROW = [6, 8, 12, 20]; // the same on a phone

export function startOverview() {
  subscribe(["photo", "language"], drawStages);
  subscribe(["block", "channel"], markChosen);
}

function drawStages() {
  if (!shown.photo) return;
  const picture = el("img", { alt: t("the_photo"), src: shown.photo.picture, class: "seen" });
  picture.style.width = picture.style.height = `${CELL * shown.photo.input.shape[3]}px`;
  const input = el(
    "figure",
    { class: "stage" },
    picture,
    el("figcaption", {}, t("photo_size", { side: shown.photo.input.shape[3] })),
  );
  put(
    byId("stages"),
    input,
    config.dims.map((_, i) => drawStage(i + 1)),
    el("figure", { class: "stage said" }, classBars(shown.photo.probabilities, 5), el("figcaption", {}, t("answer_title"))),
  );
  markChosen();
}

function drawStage(stage) {
  const {
    data,
    shape: [, channels, h, w],
  } = layer(`norm${stage}`);
  const canvas = mosaic(data, channels, h, w, (innerWidth < 640 ? NARROW : COLUMNS)[stage - 1]);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", t("stage_maps", { stage, channels, h, w }));
  const chips = blocks.filter((block) => stageOf(block) === stage).map(chip);
  const caption = el("figcaption", {}, el("b", {}, t("stage", { stage })), ` ${t("stage_size", { channels, h, w })}`);
  return el("figure", { class: "stage" }, canvas, caption, el("div", { class: "chips" }, chips));
}

// All channels of a stage as one picture, a line of background between them.
function mosaic(data, channels, h, w, columns) {
  const rows = Math.ceil(channels / columns);
  const canvas = el("canvas", { width: columns * (w + 1) - 1, height: rows * (h + 1) - 1 });
  canvas.style.width = `${CELL * canvas.width}px`;
  const image = new ImageData(canvas.width, canvas.height);
  const scale = scaleOf(data);
  for (let c = 0; c < channels; c++) {
    const [top, left] = [Math.floor(c / columns) * (h + 1), (c % columns) * (w + 1)];
    for (let p = 0; p < h * w; p++) {
      const at = (top + Math.floor(p / w)) * canvas.width + left + (p % w);
      image.data.set([...colour(data[c * h * w + p] / scale), 255], 4 * at);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function chip(block) {
  const click = () => {
    choose(block);
    byId(description.light ? "chain" : "block").scrollIntoView({ block: "start" }); // where it is taken apart
  };
  return el("button", { type: "button", class: "chip", "data-block": block, onclick: click }, block.replace("block", ""));
}

// Open a block where it says most: its channels have nothing in common with another block's.
export function choose(block) {
  set({ block, ...beginning({ block }), tap: null });
}

function markChosen() {
  for (const button of document.querySelectorAll("[data-block]")) {
    button.setAttribute("aria-pressed", String(button.dataset.block === state.block));
  }
}
