// The view that is open as one PNG: five maps with the cursor, their numbers, and the sentence below them.

import { STEPS } from "./chain.js";
import { byId, el } from "./dom.js";
import { state } from "./state.js";
import { isolated, t } from "./text.js";

const [SIDE, GAP, MARGIN, SCALE] = [220, 24, 36, 2]; // points; the PNG has twice as many pixels
const COUNT = Object.keys(STEPS).length;
const WIDTH = 2 * MARGIN + COUNT * SIDE + (COUNT - 1) * GAP;
const HEIGHT = 470;
const LONGEST = 60; // characters of a photo's name

export function startPicture() {
  byId("save").addEventListener("click", () =>
    drawn().toBlob((blob) => {
      const address = URL.createObjectURL(blob);
      const name = `minivan-${state.photo}-${state.block}-${state.channel}-${state.row}-${state.column}.png`;
      el("a", { href: address, download: name.replace(/[^\w.-]/g, "_") }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    }),
  );
}

function drawn() {
  const canvas = el("canvas", { width: SCALE * WIDTH, height: SCALE * HEIGHT });
  const context = canvas.getContext("2d");
  context.scale(SCALE, SCALE);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const write = (text, x, y, font, colour = "#1c2127") => {
    context.font = `${font} "Helvetica Neue", Arial, "PingFang SC", "Microsoft YaHei", sans-serif`;
    context.fillStyle = colour;
    context.fillText(text, x, y);
  };
  const { photo, block, channel, row, column } = state;
  const letters = [...photo];
  const name = letters.length > LONGEST ? `${letters.slice(0, LONGEST).join("")}…` : photo;
  write(`${isolated(name)} · ${t("hook_where", { block, channel, row, column })}`, MARGIN, 44, "600 17px");
  Object.keys(STEPS).forEach((step, i) => drawStep(context, write, step, MARGIN + i * (SIDE + GAP), 104));
  write(byId("sentence").textContent, MARGIN, 420, "17px");
  write("minivan", MARGIN, 448, "12px", "#565d66");
  return canvas;
}

function drawStep(context, write, step, left, top) {
  const map = byId(`map-${step}`).querySelector("canvas");
  write(t(`step_${step}`), left, top - 26, "600 16px");
  write(t(`does_${step}`), left, top - 9, "12px", "#565d66");
  context.imageSmoothingEnabled = false;
  context.drawImage(map, left, top, SIDE, (SIDE * map.height) / map.width);
  const cell = SIDE / map.width;
  const place = [left + state.column * cell, top + state.row * cell, cell, cell];
  for (const [colour, width] of [
    ["#fff", 4],
    ["#111", 2],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(...place);
  }
  const value = byId(`value-${step}`).textContent;
  write(value, left, top + SIDE + 32, "600 22px", value.startsWith("+") ? "#a84604" : "#11579c");
}
