// A map: square positions on a canvas, marks above them, and one cursor that all maps share. Mouse, touch and keyboard move it.

import { paint, paintOver } from "./colours.js";
import { byId, el, put, svg } from "./dom.js";
import { set, state } from "./state.js";

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// A map of one channel. `label()` is what it is called, and `say(row, column)` what a screen reader hears of a place. While the
// cursor is held, `pick(row, column)` may take a click for itself.
export class MapView {
  constructor({ label, say, pick = () => false, kind = "map" }) {
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.marks = svg("svg", { class: "marks", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.root = el("div", { class: kind, tabindex: "0", role: "application" }, this.canvas, this.marks);
    this.label = label;
    this.say = say;
    this.pick = pick;
    this.h = this.w = 1;
    pointable(this);
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
    this.picture = el("img", { alt: "" });
    this.root.prepend(this.picture);
  }

  photo(address) {
    if (this.picture.getAttribute("src") !== address) this.picture.src = address;
    this.root.setAttribute("aria-label", this.label());
  }

  over(values, h, w, scale) {
    this.sized(h, w);
    paintOver(this.canvas, values, h, w, scale);
  }
}

function pointable(view) {
  const { root } = view;
  const placeOf = (event) => {
    const box = root.getBoundingClientRect();
    const within = (at, length, count) => Math.max(0, Math.min(count - 1, Math.floor((at / length) * count)));
    return {
      row: within(event.clientY - box.top, box.height, view.h),
      column: within(event.clientX - box.left, box.width, view.w),
    };
  };
  root.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !state.held) set(placeOf(event));
  });
  root.addEventListener("click", (event) => {
    if (event.detail === 0) return; // made by a key, which says for itself what it does
    const place = placeOf(event);
    const same = place.row === state.row && place.column === state.column;
    if (state.held && !same && view.pick(place.row, place.column)) return;
    set({ ...place, held: event.pointerType === "touch" ? state.held : !(state.held && same) });
  });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") set({ held: !state.held });
    else if (event.key === "Escape") set({ held: false });
    else if (ARROWS[event.key]) {
      const [down, right] = ARROWS[event.key];
      const row = Math.max(0, Math.min(view.h - 1, state.row + down));
      const column = Math.max(0, Math.min(view.w - 1, state.column + right));
      set({ row, column, held: true });
      byId("live").textContent = view.say(row, column);
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

export function dot(row, column, kind = "") {
  return svg("circle", { cx: column + 0.5, cy: row + 0.5, r: 0.24, class: `dot ${kind}` });
}

// A k x k grid of a kernel's products: one tab stop, the arrow keys choose a tap, off the map is hatched.
// `pick(index)` is called for the tap under the pointer, a chosen tap or an arrow's; `keep(index)` for a click or Enter.
export class KernelGrid {
  constructor({ side, label, pick, keep = () => {} }) {
    this.cells = Array.from({ length: side * side }, (_, index) =>
      el("span", {
        class: "tap",
        onpointerenter: (event) => event.pointerType === "mouse" && pick(index),
        onclick: () => keep(index),
      }),
    );
    this.root = el("div", { class: "kernel", tabindex: "0", role: "application" }, this.cells);
    this.root.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
    this.label = label;
    this.picked = Math.floor((side * side) / 2);
    this.root.addEventListener("keydown", (event) => {
      const [down, right] = ARROWS[event.key] ?? [0, 0];
      if (event.key === "Enter" || event.key === " ") keep(this.picked);
      else if (!ARROWS[event.key]) return;
      const row = Math.max(0, Math.min(side - 1, Math.floor(this.picked / side) + down));
      const column = Math.max(0, Math.min(side - 1, (this.picked % side) + right));
      if (ARROWS[event.key]) pick(row * side + column);
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
