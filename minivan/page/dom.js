// Making elements. Text is always a text node: nothing that comes from a file is ever read as markup.

import { sign, signed } from "./numbers.js";

export function byId(id) {
  return document.getElementById(id);
}

// An element with properties (class, aria-label, onclick, ...) and children, texts among them.
export function el(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

export function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), properties, children);
}

function filled(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Replace an element's children. Where one of them had the focus, the one in its place has it then.
export function put(element, ...children) {
  const focused = focusable(element).indexOf(document.activeElement);
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (focused >= 0) focusable(element)[focused]?.focus({ preventScroll: true });
  return element;
}

function focusable(element) {
  return [...element.querySelectorAll("button, input, select, [tabindex]")];
}

export function coloured(value, digits = 2) {
  return el("b", { class: `number ${sign(value, digits)}` }, signed(value, digits));
}
