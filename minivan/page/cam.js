// The class map: which places of the last stage speak for a class. It is exact and needs no derivative: the head is applied at
// each place, and the mean of what it says, plus the head's bias, is the logit.

import { scaleOf } from "./colours.js";
import { byId, coloured, el, put } from "./dom.js";
import { frame, PhotoView, stepped } from "./maps.js";
import { best, config, labelLanguage, labels, layer, shown, tensor } from "./network.js";
import { digitsThatAdd, sign, signed } from "./numbers.js";
import { subscribe } from "./state.js";
import { roundingSaid } from "./sums.js";
import { sentence, t } from "./text.js";

const chosen = { wanted: null, rival: null };
let pointed = null; // a place of the last stage, whose positions are others than those of the block that is open
let found = null; // the class map that is shown
const view = new PhotoView({ label: () => t("cam_map"), say: said, listen });

export function startCam() {
  byId("cam-photo").append(view.root);
  for (const [id, key] of [
    ["cam-class", "wanted"],
    ["cam-rival", "rival"],
  ]) {
    byId(id).addEventListener("change", (event) => {
      chosen[key] = event.target.value === "" ? null : Number(event.target.value);
      draw();
    });
  }
  subscribe(["photo", "language"], () => {
    chosen.wanted = chosen.rival = null;
    if (shown.photo) fill();
    draw();
  });
}

function fill() {
  const likely = best(shown.photo.probabilities);
  [chosen.wanted, chosen.rival = null] = likely.map(({ index }) => index);
  const others = labels.map((label, index) => ({ label, index })).sort((a, b) => (a.label < b.label ? -1 : 1));
  const group = (key, rows) =>
    el(
      "optgroup",
      { label: t(key) },
      rows.map(({ label, index }) => el("option", { value: index, lang: labelLanguage }, label)),
    );
  put(byId("cam-class"), group("likely", likely), group("all_classes", others));
  put(byId("cam-rival"), el("option", { value: "" }, t("no_rival")), group("likely", likely), group("all_classes", others));
  byId("cam-rival").value = chosen.rival ?? "";
}

// The head's row of a class, minus a rival's, applied at each place: { values, h, w, bias, logit }.
export function classMap(wanted, rival) {
  const features = layer(`norm${config.dims.length}`);
  const [, channels, h, w] = features.shape;
  const { data } = tensor("head.weight");
  const bias = tensor("head.bias").data;
  const weight = (c) => data[wanted * channels + c] - (rival === null ? 0 : data[rival * channels + c]);
  const values = new Float64Array(h * w);
  for (let c = 0; c < channels; c++) for (let p = 0; p < h * w; p++) values[p] += weight(c) * features.data[c * h * w + p];
  const logit = (index) => shown.photo.logits[index];
  return {
    values,
    h,
    w,
    bias: bias[wanted] - (rival === null ? 0 : bias[rival]),
    logit: logit(wanted) - (rival === null ? 0 : logit(rival)),
  };
}

function listen({ root }) {
  root.addEventListener("pointermove", (event) => point(view.placeOf(event)));
  root.addEventListener("click", (event) => event.detail > 0 && point(view.placeOf(event)));
  root.addEventListener("keydown", (event) => {
    const place = stepped(event, pointed ?? { row: view.h >> 1, column: view.w >> 1 }, view.h, view.w);
    if (!place || !found) return;
    point(place);
    byId("live").textContent = said(place.row, place.column);
    event.preventDefault();
  });
}

function point(place) {
  pointed = place;
  drawPlace();
}

// What one place says for the class: a term of the mean that the logit is made of.
function said(row, column) {
  return t("cam_place", { row, column, value: signed(found.values[row * found.w + column]) });
}

function drawPlace() {
  if (!found) return;
  const picked = pointed && pointed.row * found.w + pointed.column;
  const cells = byId("cam-numbers").querySelectorAll(".grid span");
  cells.forEach((cell, at) => cell.classList.toggle("picked", at === picked));
  view.mark(pointed && frame(pointed.row, pointed.column));
  put(byId("cam-place"), pointed ? said(pointed.row, pointed.column) : t("cam_hint"));
}

function draw() {
  if (!shown.photo) return;
  found = classMap(chosen.wanted, chosen.rival);
  const { values, h, w, bias, logit } = found;
  view.photo(shown.photo.picture);
  view.over(values, h, w, scaleOf(values), (share) => share);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const { digits, rounding } = digitsThatAdd([mean, bias], logit);
  const name = chosen.rival === null ? labels[chosen.wanted] : `${labels[chosen.wanted]} − ${labels[chosen.rival]}`;
  put(
    byId("cam-said"),
    sentence("cam_said", {
      name: el("b", { lang: labelLanguage }, name),
      mean: coloured(mean, digits),
      bias: coloured(bias, digits),
      rounding: roundingSaid(rounding, digits),
      logit: coloured(logit, digits),
    }),
  );
  const cells = Array.from(values, (value) => el("span", { class: sign(value, 1) }, signed(value, 1)));
  const grid = el("div", { class: "grid" }, cells);
  grid.style.gridTemplateColumns = `repeat(${w}, 1fr)`;
  put(byId("cam-numbers"), grid);
  drawPlace();
}
