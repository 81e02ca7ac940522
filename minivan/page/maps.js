// A map: square positions on a canvas, marks above them, and one cursor that all maps of a block share. Mouse, touch and
// keyboard move it.

import { paint, paintOver } from "./colours.js";
import { byId, el, put, svg } from "./dom.js";
import { within } from "./lka.js";
import { set, state } from "./state.js";

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Where an arrow key leads from a place among h x w, so many places on; null for another key, or one that a browser's own
// command is made of.
export function stepped({ key, ctrlKey, metaKey, altKey }, { row, column }, h, w, stride = 1) {
  if (!ARROWS[key] || ctrlKey || metaKey || altKey) return null;
  const [down, right] = ARROWS[key];
  const inside = (at, count) => Math.max(0, Math.min(count - 1, at));
  return { row: inside(row + stride * down, h), column: inside(column + stride * right, w) };
}

// A map of one channel. `label()` is what it is called, and `say(row, column)` what a screen reader hears of a place. While the
// cursor is held, and always for a finger, `pick(row, column)` may take a click for itself. `listen(view)` begins to listen to
// hands: they move the cursor, unless the map's places are others than the block's.
export class MapView {
  constructor({ label, say, pick = () => false, kind = "map", listen = shareCursor }) {
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.marks = svg("svg", { class: "marks", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.root = el("div", { class: kind, tabindex: "0", role: "application" }, this.canvas, this.marks);
    this.label = label;
    this.say = say;
    this.pick = pick;
    this.h = this.w = 1;
    listen(this);
  }

  // The place under a pointer.
  placeOf({ clientX, clientY }) {
    const { left, top, width, height } = this.root.getBoundingClientRect();
    const inside = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    return { row: inside((clientY - top) / height, this.h), column: inside((clientX - left) / width, this.w) };
  }

  show(values, h, w, scale) {
    this.sized(h, w);
    paint(this.canvas, values, h, w, scale);
    this.root.setAttribute("aria-label", this.label());
  }

  sized(h, w) {
    [this.h, this.w] = [h, w];
    this.marks.setAttribute("viewBox", `0 0 ${w} ${h}`);
    this.root.style.aspectRatio = `${w} / ${h}`;
  }

  mark(...nodes) {
    put(this.marks, ...nodes);
  }
}

// A photo with a signed map laid over it.
export class PhotoView extends MapView {
  constructor(options) {
    super({ ...options, kind: "map photo" });
    this.picture = el("img", { alt: "", class: "picture" });
    this.root.prepend(this.picture);
  }

  photo(address) {
    if (this.picture.getAttribute("src") !== address) this.picture.src = address;
    this.root.setAttribute("aria-label", this.label());
  }

  over(values, h, w, scale, opacity) {
    this.sized(h, w);
    paintOver(this.canvas, values, h, w, scale, opacity);
  }
}

function shareCursor(view) {
  const { root } = view;
  root.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !state.held) set(view.placeOf(event));
  });
  root.addEventListener("click", (event) => {
    if (event.detail === 0) return; // made by a key, which says for itself what it does
    const place = view.placeOf(event);
    const same = place.row === state.row && place.column === state.column;
    const finger = event.pointerType === "touch"; // it holds nothing: there is no pointer that the cursor could follow
    if ((state.held || finger) && !same && view.pick(place.row, place.column)) return;
    set({ ...place, held: finger ? state.held : !(state.held && same) });
  });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = stepped(event, state, view.h, view.w);
    if (event.key === "Enter" || event.key === " ") set({ held: !state.held });
    else if (event.key === "Escape") set({ held: false, tap: null });
    else if (place) {
      set({ ...place, held: true });
      byId("live").textContent = view.say(place.row, place.column);
    } else return;
    event.preventDefault();
  });
}

// --- marks, in positions ------------------------------------------------------------------------------------------------

// A frame around positions, in black on white so that it shows on every colour.
export function frame(row, column, height = 1, width = 1, kind = "cursor") {
  const place = { x: column, y: row, width, height };
  return svg(
    "g",
    { class: `frame ${kind}` },
    svg("rect", { ...place, class: "under" }),
    svg("rect", { ...place, class: "upper" }),
  );
}

// A frame around all places that have a say at a place of an h x w map.
export function reach(row, column, h, w) {
  const { row: top, column: left, height, width } = within(row, column, h, w);
  return frame(top, left, height, width, "reach");
}

export function dot(row, column, kind = "") {
  return svg("circle", { cx: column + 0.5, cy: row + 0.5, r: 0.24, class: `dot ${kind}` });
}

// A k x k grid of a kernel's products: one tab stop, the arrow keys choose a tap, off the map is hatched.
// `pick(index)` is called for the tap under the pointer or an arrow's, with null where there is none any more; `keep(index)`
// for a click or Enter, with null for Escape.
export class KernelGrid {
  constructor({ side, label, pick, keep = () => {} }) {
    this.cells = Array.from({ length: side * side }, (_, index) =>
      el("span", {
        class: "tap",
        onpointerenter: (event) => event.pointerType === "mouse" && pick(index),
        onclick: () => keep(index),
      }),
    );
    const left = () => pick(null);
    const properties = { class: "kernel", tabindex: "0", role: "application", onpointerleave: left, onblur: left };
    this.root = el("div", properties, this.cells);
    this.root.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
    this.label = label;
    this.picked = Math.floor((side * side) / 2);
    this.root.addEventListener("keydown", (event) => {
      const place = stepped(event, { row: Math.floor(this.picked / side), column: this.picked % side }, side, side);
      if (place) pick(place.row * side + place.column);
      else if (event.key === "Enter" || event.key === " ") keep(this.picked);
      else if (event.key === "Escape") keep(null);
      else return;
      byId("live").textContent = this.root.getAttribute("aria-label");
      event.preventDefault();
    });
  }

  show(terms, colourOf, picked, said) {
    if (picked !== null) this.picked = picked;
    this.cells.forEach((cell, index) => {
      const { off, product } = terms[index];
      cell.className = `tap${off ? " off" : ""}${index === picked ? " picked" : ""}`;
      cell.style.backgroundColor = off ? "" : colourOf(product);
    });
    this.root.setAttribute("aria-label", `${this.label()} ${said ?? ""}`);
  }
}
