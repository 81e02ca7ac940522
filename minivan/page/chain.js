// The heart of the page: u, near, far, attention and u x attention in a row under one cursor, and how each number came about.

import { css, scaleOf } from "./colours.js";
import { byId, coloured, el, put, svg } from "./dom.js";
import { decided, verdict } from "./hook.js";
import { terms } from "./lka.js";
import { dot, frame, KernelGrid, MapView, PhotoView, reach } from "./maps.js";
import { layer, map, shown, tensor } from "./network.js";
import { digitsThatAdd, digitsThatMultiply, number, signed } from "./numbers.js";
import { set, state, subscribe } from "./state.js";
import { roundingSaid, sumTable } from "./sums.js";
import { sentence, t } from "./text.js";
import { CONV0, CONV_SPATIAL, UNIT } from "./van.js";

export const STEPS = {
  // the five maps: what the hook calls each under the block
  u: "attn.activation",
  near: `${UNIT}.conv0`,
  far: `${UNIT}.conv_spatial`,
  attention: `${UNIT}.conv1`,
  gated: UNIT,
};
const views = {};
let dots = []; // the taps of the far kernel, where the cursor is
const peeked = { near: Math.floor(CONV0.side ** 2 / 2), far: null }; // the taps whose products are written out
const nearGrid = new KernelGrid({ side: CONV0.side, label: () => t("near_grid"), pick: peekNear, keep: peekNear });
const farGrid = new KernelGrid({ side: CONV_SPATIAL.side, label: () => t("far_grid"), pick: peekFar, keep: openTap });
const whoView = new PhotoView({ label: () => t("who_map"), say: (row, column) => t("place", { row, column }) });

export function startChain() {
  for (const step of Object.keys(STEPS)) {
    const say = (row, column) => `${t("place", { row, column })}: ${signed(valueOf(step, row, column), 3)}`;
    const label = () => `${t(`step_${step}`)}, ${t("channel", { channel: state.channel })}`;
    views[step] = new MapView({ label, say, pick: step === "near" ? pickDot : undefined });
    byId(`map-${step}`).append(views[step].root);
  }
  byId("near-grid").append(nearGrid.root);
  byId("far-grid").append(farGrid.root);
  byId("who-map").append(whoView.root);
  byId("same-scale").addEventListener("change", drawMaps);
  subscribe(["photo", "block", "channel", "language"], drawMaps);
  subscribe(["photo", "block", "channel", "row", "column", "tap", "held", "language"], drawCursor);
}

// A click on one of the far kernel's dots opens its window on u.
function pickDot(row, column) {
  const tap = dots.findIndex((each) => !each.off && each.row === row && each.column === column);
  if (tap >= 0) openTap(tap);
  return tap >= 0;
}

// The one that is open closes; so does each with null.
function openTap(tap) {
  set({ tap: state.tap === tap ? null : tap });
}

function valueOf(step, row, column) {
  const { values, w } = map(`${state.block}.${STEPS[step]}`, state.channel);
  return values[row * w + column];
}

let scales = {};

function drawMaps() {
  if (!shown.photo) return;
  const maps = Object.entries(STEPS).map(([step, path]) => [step, map(`${state.block}.${path}`, state.channel)]);
  const common = scaleOf(...maps.map(([, { values }]) => values));
  const same = byId("same-scale").checked;
  scales = Object.fromEntries(maps.map(([step, { values }]) => [step, same ? common : scaleOf(values)]));
  for (const [step, { values, h, w }] of maps) {
    views[step].show(values, h, w, scales[step]);
    put(byId(`legend-${step}`), legend(scales[step]));
  }
  whoView.photo(shown.photo.picture);
}

function legend(scale) {
  const end = (than, value) => el("span", {}, `${than} ${signed(value, scale < 0.1 ? 3 : 1)}`);
  return [end("≤", -scale), el("span", { class: "ramp" }), end("≥", scale)]; // what lies beyond has the colour of the end
}

function drawCursor() {
  if (!shown.photo) return;
  const { row, column, channel, block } = state;
  for (const step of Object.keys(STEPS)) put(byId(`value-${step}`), coloured(valueOf(step, row, column), 3));
  const u = map(`${block}.${STEPS.u}`, channel);
  const near = map(`${block}.${STEPS.near}`, channel);
  const weight = (name) => tensor(`${block}.${UNIT}.${name}.weight`);
  const bias = (name) => tensor(`${block}.${UNIT}.${name}.bias`).data[channel];
  const window = terms(u.values, u.h, u.w, weight("conv0"), channel, row, column);
  const taps = terms(near.values, near.h, near.w, weight("conv_spatial"), channel, row, column, CONV_SPATIAL.dilation);
  drawMarks(taps);
  drawNear(window, bias("conv0"));
  drawFar(taps, bias("conv_spatial"), u, weight("conv0"), bias("conv0"));
  drawMixed(weight("conv1"), bias("conv1"));
  drawGate();
  drawWho();
  byId("held").textContent = state.held ? t("held") : t("not_held");
}

function drawMarks(taps) {
  const { row, column, tap } = state;
  const cursor = () => frame(row, column);
  const opened = tap !== null && !taps[tap].off ? taps[tap] : null;
  const { side, padding } = CONV0;
  const windowOf = (place, kind) => frame(place.row - padding, place.column - padding, side, side, kind);
  views.u.mark(
    reach(row, column, views.u.h, views.u.w),
    windowOf({ row, column }, "window"),
    opened && windowOf(opened, "opened"),
    cursor(),
  );
  dots = taps;
  const marks = taps.map((each, i) => !each.off && dot(each.row, each.column, i === (peeked.far ?? tap) ? "picked" : ""));
  views.near.mark(...marks, opened && frame(opened.row, opened.column, 1, 1, "opened"), cursor());
  for (const step of ["far", "attention", "gated"]) views[step].mark(cursor());
}

function written({ row, column, weight, value, product, off }) {
  if (off) return t("tap_off", { row: number(row, 0), column: number(column, 0), weight: number(weight, 3) });
  const { digits, equals } = digitsThatMultiply(weight, value, product);
  const numbers = { weight: number(weight, digits), value: number(value, digits), product: signed(product, 3) };
  return t("tap_on", { row, column, ...numbers, equals });
}

function painter(all) {
  const scale = Math.max(...all.map(({ product }) => Math.abs(product)), 1e-30);
  return (product) => css(product / scale);
}

const listed = (all) =>
  all.filter(({ off }) => !off).map((term) => ({ ...term, label: t("short_place", { row: term.row, column: term.column }) }));

function peekNear(tap) {
  if (tap === peeked.near || tap === null) return; // drawing puts another row under the pointer, which enters it again
  peeked.near = tap;
  drawCursor();
}

function peekFar(tap) {
  if (tap === peeked.far) return;
  peeked.far = tap;
  drawCursor();
}

function drawNear(window, bias) {
  nearGrid.show(window, painter(window), peeked.near, written(window[peeked.near]));
  put(byId("near-said"), written(window[peeked.near]));
  const total = valueOf("near", state.row, state.column);
  const rows = listed(window).map((term) => ({
    ...term,
    hover: () => peekNear(window.findIndex((w) => w.row === term.row && w.column === term.column)),
  }));
  put(byId("near-sum"), sumTable({ terms: rows, bias, total, totalLabel: t("step_near") }));
}

function drawFar(taps, bias, u, kernel, nearBias) {
  const said = peeked.far ?? state.tap;
  farGrid.show(taps, painter(taps), said, said === null ? "" : written(taps[said]));
  const off = taps.filter((tap) => tap.off).length;
  const all = taps.length;
  put(byId("far-said"), said === null ? t("far_off", { on: all - off, all, off }) : written(taps[said]));
  const rows = listed(taps).map((term) => ({
    ...term,
    click: () => openTap(taps.findIndex((tap) => tap.row === term.row && tap.column === term.column)),
  }));
  put(
    byId("far-sum"),
    sumTable({ terms: rows, bias, total: valueOf("far", state.row, state.column), totalLabel: t("step_far") }),
  );
  const opened = state.tap === null || taps[state.tap].off ? null : taps[state.tap];
  if (!opened) return put(byId("tap-window"));
  const own = terms(u.values, u.h, u.w, kernel, state.channel, opened.row, opened.column);
  const table = sumTable({ terms: listed(own), bias: nearBias, total: opened.value, totalLabel: t("step_near"), most: 3 });
  return put(
    byId("tap-window"),
    el("h4", { class: "fine" }, t("tap_window", { row: opened.row, column: opened.column })),
    table,
  );
}

function drawMixed(weight, bias) {
  const {
    data,
    shape: [, channels, , w],
  } = layer(`${state.block}.${STEPS.far}`);
  const at = state.row * w + state.column;
  const positions = data.length / channels;
  const all = Array.from({ length: channels }, (_, c) => {
    const [factor, value] = [weight.data[state.channel * channels + c], data[c * positions + at]];
    return {
      label: t("channel", { channel: c }),
      weight: factor,
      value,
      product: factor * value,
      click: () => set({ channel: c }),
    };
  });
  const total = valueOf("attention", state.row, state.column);
  put(byId("mixed-sum"), sumTable({ terms: all, bias, total, totalLabel: t("step_attention"), most: 9 }));
}

function drawGate() {
  const [u, attention, gated] = ["u", "attention", "gated"].map((step) => valueOf(step, state.row, state.column));
  const { digits, equals } = digitsThatMultiply(u, attention, gated);
  const factors = [coloured(u, digits), " × ", coloured(attention, digits)];
  const product = el("p", { class: "product" }, factors, ` ${equals} `, coloured(gated, 3));
  const said = sentence("gate_verdict", { verdict: el("b", {}, t(verdict(attention))) });
  put(byId("gate"), product, el("p", {}, said), numberLine(attention));
}

// Where the attention value lies: turned over, dimmed or amplified.
function numberLine(attention) {
  const end = Math.min(99, Math.max(3, Math.ceil(Math.abs(attention))));
  const at = (value) => 100 + (94 / end) * Math.max(-end, Math.min(end, value));
  const zone = (from, to, kind) =>
    svg("rect", { x: at(from), y: 16, width: at(to) - at(from), height: 12, class: `zone ${kind}` });
  const zones = [zone(-end, 0, "turned"), zone(0, 1, "dimmed"), zone(1, end, "lifted")];
  const ticks = [-end, -1, 0, 1, end].map((value) => svg("text", { x: at(value), y: 42, class: "tick" }, number(value, 0)));
  const needle = svg("path", { d: `M${at(attention)},30 l-5,-22 h10 z`, class: "needle" });
  const label = t("gate_line", { end, value: signed(attention, 3) });
  return svg("svg", { class: "line", viewBox: "0 0 200 46", role: "img", "aria-label": label }, zones, ticks, needle);
}

function drawWho() {
  const { place, neighbours, constant, attention, shares, u } = decided();
  const [, , h, w] = u.shape;
  whoView.over(shares, h, w, scaleOf(shares));
  whoView.mark(reach(state.row, state.column, h, w), frame(state.row, state.column));
  const order = Array.from(shares.keys())
    .sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a]))
    .slice(0, 5);
  const { digits, rounding } = digitsThatAdd([place + neighbours, constant], attention);
  const reached = shares.filter((share) => share !== 0).length;
  const rows = order.map((at) =>
    el("li", {}, t("short_place", { row: Math.floor(at / w), column: at % w }), " ", coloured(shares[at], 3)),
  );
  const numbers = {
    places: coloured(place + neighbours, digits),
    constant: coloured(constant, digits),
    rounding: roundingSaid(rounding, digits),
    attention: coloured(attention, digits),
    reached: String(reached),
  };
  put(
    byId("who-said"),
    el("p", {}, sentence("who_said", numbers)),
    el("p", {}, t("who_largest")),
    el("ol", { class: "largest" }, rows),
  );
}
