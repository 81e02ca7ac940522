// Making elements. Text is always a text node: nothing that comes from a file is ever read as markup.

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

const MINUS = "\u2212";

// A number with its sign and so many digits after the point: +0.33, −1.59.
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits); // of the number's own decimal expansion, as Python's format has it
  return (Number(text) === 0 ? "" : value < 0 ? MINUS : "+") + text;
}

// The same without a plus.
export function number(value, digits = 2) {
  return signed(value, digits).replace("+", "");
}

export function percent(probability, digits = 1) {
  return `${(100 * probability).toFixed(digits)} %`;
}

// What a number is coloured as: "positive", "negative" or "".
export function sign(value) {
  return value > 0 ? "positive" : value < 0 ? "negative" : "";
}

export function coloured(value, digits = 2) {
  return el("b", { class: `number ${sign(value)}` }, signed(value, digits));
}
