// The first thing that anybody sees: a photo, the answer, a pointer that moves by itself, and the sentence of its numbers.

import { classBars } from "./answer.js";
import { scaleOf } from "./colours.js";
import { byId, coloured, el, put } from "./dom.js";
import { lowest, READS, split, telling, within } from "./lka.js";
import { frame, PhotoView, reach } from "./maps.js";
import { description, layer, map, shown, tensor } from "./network.js";
import { digitsThatAdd, percent, sign, signed } from "./numbers.js";
import { set, state, subscribe } from "./state.js";
import { roundingSaid } from "./sums.js";
import { sentence, t } from "./text.js";
import { UNIT } from "./van.js";

const PAUSE = 2600; // milliseconds that the pointer stays at a place

let latest = { photo: null, key: "", found: null }; // two sections show the same split

// The attention value under the cursor, split: { place, neighbours, constant, attention, shares }.
export function decided(place = state) {
  const key = [place.block, place.channel, place.row, place.column].join();
  if (latest.photo !== shown.photo || latest.key !== key) latest = { photo: shown.photo, key, found: splitAt(place) };
  return latest.found;
}

function splitAt({ block, channel, row, column }) {
  const u = layer(`${block}.attn.activation`);
  const { shares, constant } = split((name) => tensor(`${block}.${UNIT}.${name}`), u, channel, row, column);
  const { values, w } = map(`${block}.${UNIT}.conv1`, channel);
  const place = shares[row * w + column];
  const neighbours = shares.reduce((sum, share) => sum + share, 0) - place;
  return { place, neighbours, constant, attention: values[row * w + column], shares, u };
}

// The channel and the place to begin with, where nothing names them.
export function beginning({ block = state.block, channel }) {
  const attention = `${block}.${UNIT}.conv1`;
  if (channel !== undefined) return lowest(map(attention, channel).values, layer(attention).shape[3]);
  const best = telling((name) => tensor(`${block}.${UNIT}.${name}`), layer(`${block}.attn.activation`), layer(attention));
  return { channel: best.channel, row: best.row, column: best.column };
}

// What the gate does to a number, as a key of the table of texts.
export function verdict(factor) {
  if (factor < 0) return factor < -1 ? "turns_amplifies" : "turns";
  return factor > 1 ? "amplifies" : "dims";
}

const photo = new PhotoView({
  label: () => t("hook_map"),
  say: (row, column) => `${t("place", { row, column })}: ${signed(decided({ ...state, row, column }).attention)}`,
});

export function startHook() {
  byId("hook-photo").append(photo.root);
  subscribe(["photo", "language"], drawAnswer);
  subscribe(["photo", "block", "channel", "row", "column", "held", "language"], drawSentence);
  moveByItself();
}

// The photo alone, while the network still computes.
export function preview(picture) {
  if (!shown.photo) photo.sized(1, 1);
  photo.photo(picture);
}

function drawAnswer() {
  if (!shown.photo) return;
  photo.photo(shown.photo.picture);
  const { probabilities } = shown.photo;
  const limit = description.not_sure;
  const sure = limit === null || probabilities.reduce((a, b) => Math.max(a, b)) >= limit;
  const said = sure ? null : el("p", { class: "note" }, t("not_sure", { limit: percent(limit, 0) }));
  put(byId("answer"), classBars(probabilities, 5), said);
  put(byId("photo-note"), shown.photo.note ? t(shown.photo.note) : "");
}

function drawSentence() {
  if (!shown.photo) return;
  const { place, neighbours, constant, attention, shares, u } = decided();
  const [, , h, w] = u.shape;
  photo.over(shares, h, w, scaleOf(shares));
  photo.mark(reach(state.row, state.column, h, w), frame(state.row, state.column));
  const { height, width } = within(state.row, state.column, h, w);
  put(byId("hook-hint"), t("hook_hint", { reads: READS, on: height * width }));
  const { digits, rounding } = digitsThatAdd([place, neighbours, constant], attention);
  const numbers = { place, neighbours, constant, attention };
  const nodes = Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, coloured(value, digits)]));
  put(byId("sentence"), sentence("sentence", { ...nodes, rounding: roundingSaid(rounding, digits) }));
  put(
    byId("verdict"),
    sentence("verdict", { verdict: el("b", {}, t(verdict(attention))), factor: coloured(attention, digits) }),
  );
  put(byId("waterfall"), waterfall(numbers, digits, rounding));
  put(
    byId("hook-where"),
    t("hook_where", { block: state.block, channel: state.channel, row: state.row, column: state.column }),
  );
}

// Three bars, each from where the last one ended, what rounding has cost, and the bar that they add up to.
function waterfall({ place, neighbours, constant, attention }, digits, rounding) {
  const ends = [0, place, place + neighbours, place + neighbours + constant];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const at = (value) => (100 * (value - low)) / (high - low || 1);
  const steps = [
    ["this_place", place, 0],
    ["neighbourhood", neighbours, ends[1]],
    ["constant", constant, ends[2]],
    ...(rounding === 0 ? [] : [["rounding", rounding, ends[3]]]),
  ];
  return [...steps, ["attention", attention, 0]].map(([key, value, from]) => {
    const bar = el("span", { class: `bar ${sign(value, digits)}` });
    bar.style.left = `${at(Math.min(from, from + value))}%`;
    bar.style.width = `${Math.abs(at(from + value) - at(from))}%`;
    const zero = el("span", { class: "zero" });
    zero.style.left = `${at(0)}%`;
    const name = el("span", { class: "label" }, t(key));
    return el(
      "li",
      { class: key },
      name,
      el("span", { class: "lane" }, zero, bar),
      el("span", { class: `p ${sign(value, digits)}` }, signed(value, digits)),
    );
  });
}

// Until somebody points at something, the pointer visits the places where the attention value is large.
function moveByItself() {
  if (location.hash || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  let next = 0;
  const timer = setInterval(() => {
    if (!shown.photo || document.hidden) return;
    const { values, h, w } = map(`${state.block}.${UNIT}.conv1`, state.channel);
    const places = visited(values, h, w);
    const { row, column } = places[next++ % places.length];
    set({ row, column });
  }, PAUSE);
  const stop = () => {
    clearInterval(timer);
    byId("still").hidden = true;
  };
  byId("still").hidden = false;
  for (const event of ["pointerdown", "keydown", "wheel"]) addEventListener(event, stop, { once: true });
  addEventListener("pointerover", (event) => event.target.closest?.(".map") && stop());
}

// A few places far from one another, the largest values first.
function visited(values, h, w) {
  const order = Array.from(values.keys()).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const places = [];
  for (const at of order) {
    const place = { row: Math.floor(at / w), column: at % w };
    const near = (other) => Math.hypot(other.row - place.row, other.column - place.column) < h / 4;
    if (!places.some(near)) places.push(place);
    if (places.length === 6) break;
  }
  return places;
}
