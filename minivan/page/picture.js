// A section of the page, as it is now, as one PNG: an SVG that holds copies of the section's elements and the page's own style,
// drawn on a canvas, under a line that says of which photo and place it is.

import { byId, el, svg } from "./dom.js";
import { description } from "./network.js";
import { state } from "./state.js";
import { isolated, t } from "./text.js";

const SCALE = 2; // pixels of the PNG to one of the page
const MARGIN = 56; // pixels of the page, above the section
const DRAWN = "position top left display width height opacity image-rendering box-shadow border-radius cursor".split(" ");

export function startPicture() {
  for (const button of document.querySelectorAll(".save")) {
    button.addEventListener("click", () => save(button).catch(({ message }) => failed(button, message)));
  }
}

function failed(button, message) {
  button.textContent = t("not_saved", { message });
}

async function save(button) {
  button.textContent = t("save"); // what went wrong the last time need not again
  const section = button.closest("section");
  const canvas = await drawn(section);
  const blob = await new Promise((done) => canvas.toBlob(done));
  const address = URL.createObjectURL(blob);
  const { photo, block, channel, row, column } = state;
  const name = `minivan-${photo}-${block}-${channel}-${row}-${column}-${section.id}.png`;
  el("a", { href: address, download: name.replace(/[^\w.-]/g, "_") }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function drawn(section) {
  const [width, height] = [document.documentElement.clientWidth, section.offsetHeight + MARGIN];
  const source = xml(new XMLSerializer().serializeToString(picture(section, width, height)));
  const image = el("img", { src: `data:image/svg+xml,${encodeURIComponent(source)}` });
  await image.decode();
  const canvas = el("canvas", { width: SCALE * width, height: SCALE * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Characters that a name or a label may hold and an XML text may not.
function xml(text) {
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd");
}

// The width is the window's, so that the style finds the same sizes in it.
function picture(section, width, height) {
  const style = el("style", {}, document.querySelector("style").textContent);
  const kind = `taken ${description.light ? "light" : ""}`;
  const body = el("body", { class: kind }, heading(section), el("main", {}, copied(section)));
  const held = svg("foreignObject", { width, height }, body);
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, lang: document.documentElement.lang }, style, held);
}

// Of the changes to the network only those that this section shows: all others show it as trained.
function heading({ id }) {
  const { photo, block, channel, row, column, change, flat } = state;
  const parts = ["minivan", isolated(photo), t("hook_where", { block, channel, row, column })];
  if (id === "whatif" && change !== "none") parts.push(t(`change_${change}`));
  if (id === "channels" && flat) parts.push(t("change_mean"));
  return el("p", {}, parts.join(" · "));
}

// A copy holds what the elements' attributes do not say: what is drawn on a canvas, chosen or ticked.
function copied(section) {
  const copy = section.cloneNode(true);
  const pairs = (kind) => Array.from(copy.querySelectorAll(kind), (each, i) => [section.querySelectorAll(kind)[i], each]);
  for (const [canvas, place] of pairs("canvas")) place.replaceWith(still(canvas));
  for (const [input, each] of pairs("input")) {
    each.setAttribute("value", input.value);
    each.toggleAttribute("checked", input.checked);
  }
  for (const [option, each] of pairs("option")) each.toggleAttribute("selected", option.selected);
  for (const button of copy.querySelectorAll(".save")) button.style.visibility = "hidden"; // the rest stays where it is
  return copy;
}

function still(canvas) {
  const image = el("img", { src: canvas.toDataURL(), class: canvas.className });
  const style = getComputedStyle(canvas);
  for (const name of DRAWN) image.style.setProperty(name, style.getPropertyValue(name));
  return image;
}
