// Where or which? All channels of a block's attention as small maps, those that differ most from place to place first; and what
// the answer becomes when each map is replaced by its mean, so that only "which channel" is left.

import { paint, scaleOf } from "./colours.js";
import { byId, el, put } from "./dom.js";
import { layer, shown } from "./network.js";
import { number, signed } from "./numbers.js";
import { set, state, subscribe } from "./state.js";
import { t } from "./text.js";
import { UNIT } from "./van.js";
import { asked, changedAnswer } from "./whatif.js";

const FIRST = 32; // maps that are drawn before somebody asks for all

let all = false;
let means = { photo: null, answer: null }; // what became of a photo with every map its mean

export function startChannels() {
  subscribe(["photo", "block", "flat", "language"], drawChannels);
  subscribe(["channel"], markChosen);
  byId("all-channels").addEventListener("click", () => {
    all = !all;
    drawChannels();
  });
  byId("means").addEventListener("click", () => set({ flat: !state.flat }));
  subscribe(["photo", "flat", "language"], drawMeans);
}

async function drawMeans() {
  byId("means").textContent = t(state.flat ? "means_back" : "means");
  const [place, { photo }] = [byId("means-answer"), shown];
  if (!state.flat || !photo) {
    put(place);
    return;
  }
  if (means.photo !== photo) {
    const answer = await asked(place, photo.input, { change: "mean", wanted: "all" });
    if (!answer || photo !== shown.photo) return;
    means = { photo, answer };
    if (!state.flat) return;
    drawChannels();
  }
  put(place, changedAnswer("mean", means.answer));
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
  const path = `${state.block}.${UNIT}.conv1`;
  const attention = layer(path);
  const [, channels, h, w] = attention.shape;
  const scale = scaleOf(attention.data);
  const sorted = spreads(attention).sort((a, b) => b.spread - a.spread);
  const flat = state.flat && means.photo === shown.photo;
  const drawn = flat ? spreads(means.answer.layers[path]) : null; // in the same order, so that each stays where it is
  const tiles = sorted.slice(0, all ? channels : FIRST).map((each) => {
    const { channel, values, mean, spread } = drawn ? drawn[each.channel] : each;
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
