// Where or which? All channels of a block's attention as small maps, those that differ most from place to place first; and what
// the answer becomes when each map is replaced by its mean, so that only "which channel" is left.

import { paint, scaleOf } from "./colours.js";
import { byId, el, put } from "./dom.js";
import { UNIT } from "./hook.js";
import { layer, shown } from "./network.js";
import { number, signed } from "./numbers.js";
import { set, state, subscribe } from "./state.js";
import { t } from "./text.js";
import { ask, beforeAndAfter } from "./whatif.js";

const FIRST = 32; // maps that are drawn before somebody asks for all

let all = false;
let answered = { photo: null, answer: null }; // what every map's mean made of a photo

export function startChannels() {
  subscribe(["photo", "block", "language"], drawChannels);
  subscribe(["channel"], markChosen);
  byId("all-channels").addEventListener("click", () => {
    all = !all;
    drawChannels();
  });
  byId("means").addEventListener("click", async () => {
    put(byId("means-answer"), t("computing"));
    const { photo } = shown;
    answered = { photo, answer: await ask("mean") };
    drawMeans();
  });
  subscribe(["photo", "language"], drawMeans);
}

function drawMeans() {
  const known = answered.photo !== null && answered.photo === shown.photo;
  put(byId("means-answer"), known ? beforeAndAfter("mean", answered.answer) : null);
}

// Mean and standard deviation of each channel over places.
function spreads({ data, shape: [, channels, h, w] }) {
  return Array.from({ length: channels }, (_, channel) => {
    const values = data.subarray(channel * h * w, (channel + 1) * h * w);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return { channel, values, mean, spread: Math.sqrt(variance) };
  });
}

function drawChannels() {
  if (!shown.photo) return;
  const attention = layer(`${state.block}.${UNIT}.conv1`);
  const [, channels, h, w] = attention.shape;
  const scale = scaleOf(attention.data);
  const sorted = spreads(attention).sort((a, b) => b.spread - a.spread);
  const tiles = sorted.slice(0, all ? channels : FIRST).map(({ channel, values, mean, spread }) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    paint(canvas, values, h, w, scale);
    const label = t("tile", { channel, mean: signed(mean), spread: number(spread) });
    const click = () => set({ channel });
    return el(
      "button",
      { type: "button", class: "tile", "data-channel": channel, title: label, "aria-label": label, onclick: click },
      canvas,
      el("span", {}, channel),
    );
  });
  put(byId("tiles"), tiles);
  byId("all-channels").textContent = all ? t("fewer_channels") : t("all_channels", { channels });
  byId("all-channels").hidden = channels <= FIRST;
  markChosen();
}

function markChosen() {
  for (const tile of document.querySelectorAll("[data-channel]")) {
    tile.setAttribute("aria-pressed", String(Number(tile.dataset.channel) === state.channel));
  }
}
