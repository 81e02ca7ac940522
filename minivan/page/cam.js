// The class map: which places of the last stage speak for a class. It is exact and needs no derivative: the head is applied at
// each place, and the mean of what it says, plus the head's bias, is the logit.

import { scaleOf } from "./colours.js";
import { byId, coloured, el, put, sign, signed } from "./dom.js";
import { PhotoView } from "./maps.js";
import { best, config, labels, layer, shown, tensor } from "./network.js";
import { subscribe } from "./state.js";
import { digitsThatAdd } from "./sums.js";
import { sentence, t } from "./text.js";

const chosen = { wanted: null, rival: null };
const view = new PhotoView({ label: () => t("cam_map"), say: (row, column) => t("place", { row, column }) });

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
  [chosen.wanted, chosen.rival] = likely.map(({ index }) => index);
  const others = labels.map((label, index) => ({ label, index })).sort((a, b) => (a.label < b.label ? -1 : 1));
  const group = (key, rows) =>
    el(
      "optgroup",
      { label: t(key) },
      rows.map(({ label, index }) => el("option", { value: index }, label)),
    );
  put(byId("cam-class"), group("likely", likely), group("all_classes", others));
  put(byId("cam-rival"), el("option", { value: "" }, t("no_rival")), group("likely", likely), group("all_classes", others));
  byId("cam-rival").value = chosen.rival;
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

function draw() {
  if (!shown.photo) return;
  const { values, h, w, bias, logit } = classMap(chosen.wanted, chosen.rival);
  view.photo(shown.photo.picture);
  view.over(values, h, w, scaleOf(values));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const digits = digitsThatAdd([mean, bias], logit);
  const name = chosen.rival === null ? labels[chosen.wanted] : `${labels[chosen.wanted]} − ${labels[chosen.rival]}`;
  put(
    byId("cam-said"),
    sentence("cam_said", {
      name: el("b", {}, name),
      mean: coloured(mean, digits),
      bias: coloured(bias, digits),
      logit: coloured(logit, digits),
    }),
  );
  const cells = Array.from(values, (value) => el("span", { class: sign(value) }, signed(value, 1)));
  const grid = el("div", { class: "grid" }, cells);
  grid.style.gridTemplateColumns = `repeat(${w}, 1fr)`;
  put(byId("cam-numbers"), grid);
}
