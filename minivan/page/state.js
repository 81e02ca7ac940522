// What the page shows, in one place. Whoever changes it calls `set`; whoever shows it subscribes. The URL's hash holds it.

import { blocks, config, description } from "./network.js";

export const state = {
  photo: description.photos[0].name,
  block: blocks[0],
  channel: 0,
  row: 0,
  column: 0,
  tap: null, // of the far kernel, counted row by row, whose own window is open
  held: false, // whether the cursor stays where it is
  change: "none",
  flat: false, // whether every attention map is its mean
  language: "en",
};

const HASH_PAUSE = 400; // milliseconds; browsers refuse more than 100 changes of the address in half a minute

const listeners = [];
const pending = new Set(); // keys whose listeners are called in the next frame
let writing = null; // the timer of the next writing of the hash

// Call `draw()` once a frame after one of the keys has changed.
export function subscribe(keys, draw) {
  listeners.push({ keys, draw });
}

export function set(wanted) {
  const values = { ...wanted, ...fitting({ ...state, ...wanted }) };
  const changed = Object.keys(values).filter((key) => state[key] !== values[key]);
  if (changed.length === 0) return;
  Object.assign(state, values);
  if (pending.size === 0) requestAnimationFrame(drawPending);
  changed.forEach((key) => pending.add(key));
}

function drawPending() {
  const keys = [...pending];
  pending.clear();
  redraw(keys);
}

// Channel and place, moved to where the block has them.
function fitting({ block, channel, row, column }) {
  const last = Math.ceil(sideOf(stageOf(block))) - 1;
  return { channel: Math.min(channel, channelsOf(block) - 1), row: Math.min(row, last), column: Math.min(column, last) };
}

// Draw everything that depends on these keys, now.
export function redraw(keys) {
  for (const listener of listeners) if (listener.keys.some((key) => keys.includes(key))) listener.draw();
  writing ??= setTimeout(writeHash, HASH_PAUSE);
}

export function stageOf(block) {
  return Number(block.match(/^block(\d)/)[1]);
}

export function channelsOf(block) {
  return config.dims[stageOf(block) - 1];
}

// The side of a stage's maps for a square input.
export function sideOf(stage) {
  return description.preprocessing.crop / 2 ** (stage + 1);
}

const KEPT = {
  photo: (text) => ({ photo: text }),
  block: (text) => (blocks.includes(text) ? { block: text } : {}),
  channel: (text) => whole("channel", text),
  place: (text) => ({ ...whole("row", text.split(",")[0]), ...whole("column", text.split(",")[1]) }),
  whatif: (text) => ({ change: text }),
  lang: (text) => (["en", "zh"].includes(text) ? { language: text } : {}),
};

function whole(key, text) {
  return /^\d{1,4}$/.test(text ?? "") ? { [key]: Number(text) } : {};
}

// What a hash asks for: the values that it names, as far as they can be.
export function readHash(hash, known) {
  const asked = {};
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (Object.hasOwn(KEPT, key)) Object.assign(asked, KEPT[key](text));
  }
  if (asked.photo && !known.photos.includes(asked.photo)) delete asked.photo;
  if (asked.change && !known.changes.includes(asked.change)) delete asked.change;
  const block = asked.block ?? state.block;
  const side = Math.ceil(sideOf(stageOf(block)));
  if (asked.channel >= channelsOf(block)) delete asked.channel;
  for (const key of ["row", "column"]) if (asked[key] >= side) delete asked[key];
  return asked;
}

function writeHash() {
  writing = null;
  const { photo, block, channel, row, column, change, language } = state;
  const values = { photo, block, channel, place: `${row},${column}` };
  if (change !== "none") values.whatif = change;
  if (language !== "en") values.lang = language;
  const hash = `#${new URLSearchParams(values).toString().replaceAll("%2C", ",")}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}
