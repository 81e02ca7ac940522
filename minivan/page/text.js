// Texts in the language that is chosen.

import { state } from "./state.js";
import { TEXTS } from "./texts.js";

const LANGUAGES = ["en", "zh"];

// The text of a key with its places filled in.
export function t(key, values = {}) {
  return TEXTS[key][LANGUAGES.indexOf(state.language)].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// The same where what is filled in are elements: a list of texts and nodes.
export function sentence(key, nodes) {
  const parts = TEXTS[key][LANGUAGES.indexOf(state.language)].split(/\{(\w+)\}/);
  return parts.map((part, i) => (i % 2 ? nodes[part] : part));
}

// A name from elsewhere, to stand within a text: whichever way it is written, what is around it keeps its own.
export function isolated(name) {
  return `\u2068${name}\u2069`;
}

// Put the texts into the elements that ask for them: data-text for the content, data-label for what a screen reader hears.
export function translate(language) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}
