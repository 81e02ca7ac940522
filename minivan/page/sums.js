// A sum as a list: the largest terms first, the others as one, the bias, and what it all comes to. What is shown adds up to the
// digit that is shown; where rounding each number would break that, the list says by how much.

import { coloured, el } from "./dom.js";
import { missing, number, sign, signed } from "./numbers.js";
import { sentence, t } from "./text.js";

const DIGITS = 3;

// `terms` are { label, weight, value, product, hover?, click? }. Returns a table.
export function sumTable({ terms, bias, total, totalLabel, most = 5 }) {
  const sorted = [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const [largest, others] = [sorted.slice(0, most), sorted.slice(most)];
  const rest = others.reduce((sum, term) => sum + term.product, 0);
  const longest = Math.max(...largest.map((term) => Math.abs(term.product)), Math.abs(rest), Math.abs(bias), 1e-30);
  const rows = largest.map((term) => row(term.label, factors(term), term.product, longest, term));
  if (others.length) rows.push(row(t("others", { count: others.length }), "", rest, longest));
  rows.push(row(t("bias"), "", bias, longest));
  const shown = [...largest.map((term) => term.product), ...(others.length ? [rest] : []), bias];
  const rounding = missing(shown, total, DIGITS);
  if (rounding !== 0) rows.push(row(t("rounding"), "", rounding, longest, { kind: "faint" }));
  const last = el("tr", { class: "total" }, el("th", { scope: "row", colspan: 2 }, totalLabel), cell(total), el("td"));
  return el("table", { class: "sum" }, el("tbody", {}, rows, last));
}

// What rounding has cost a sum that is written as a sentence: a clause of it, or nothing.
export function roundingSaid(rounding, digits) {
  if (rounding === 0) return "";
  return el("span", { class: "faint" }, sentence("rounding_said", { rounding: coloured(rounding, digits) }));
}

function factors({ weight, value }) {
  return `${number(weight, DIGITS)} × ${number(value, DIGITS)}`;
}

function row(label, made, value, longest, { hover, click, kind = "" } = {}) {
  const bar = el("span", { class: `bar ${sign(value, DIGITS)}` });
  bar.style.setProperty("--part", Math.min(1, Math.abs(value) / longest));
  const name = click ? el("button", { type: "button", class: "link", onclick: click }, label) : label;
  const events = hover ? { onpointerenter: hover } : {};
  const cells = [
    el("th", { scope: "row" }, name),
    el("td", { class: "made" }, made),
    cell(value),
    el("td", { class: "bars" }, bar),
  ];
  return el("tr", { class: kind, ...events }, cells);
}

function cell(value) {
  return el("td", { class: `value ${sign(value, DIGITS)}` }, signed(value, DIGITS));
}
