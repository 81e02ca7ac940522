// The guided path: eight steps, five of them with a question that asks for a guess first and that the page itself answers. It
// locks nothing: whoever wants to can look at everything at once.

import { byId, el, put } from "./dom.js";
import { dilatedSide, LARGE_KERNEL, mostDivided, NEAR_RULES, READS, spatialWeights, support } from "./lka.js";
import { best, config, description, labelLanguage, layer, map, shown } from "./network.js";
import { percent } from "./numbers.js";
import { set, sideOf, state, subscribe } from "./state.js";
import { sentence, t } from "./text.js";
import { UNIT } from "./van.js";
import { accuracyWith, asked } from "./whatif.js";

// `section` is where the step happens, `part` what of it a phone shows above the card, and `aside` says that the card would lie
// on what the step is about where it lies by default. A question has `choices` texts; `answer()` gives the right one, counted
// from 0, and what the page has found out for the text that says why. `begin()` makes ready what a step speaks of.
const STEPS = [
  { name: "sum", section: "hook", part: "hook-photo", begin: towardsBoth },
  { name: "shrink", section: "overview", choices: 3, answer: smaller },
  { name: "near", section: "chain", part: "near-grid" },
  { name: "far", section: "chain", part: "far-grid", choices: 3, answer: () => ({ right: 1, reach: READS }) },
  { name: "mix", section: "chain", part: "mixed-sum", aside: true },
  { name: "gate", section: "chain", part: "gate", aside: true, choices: 3, answer: () => ({ right: 2 }) },
  { name: "which", section: "channels", choices: 2, answer: means, network: true },
  { name: "cost", section: "whatif", choices: 3, answer: cheapest },
];

let at = -1; // the open step
let guess = null;

export function startGuide() {
  subscribe(["language"], () => {
    put(byId("ribbon"), STEPS.map(pearl));
    draw();
  });
}

function pearl({ name, network }, i) {
  if (network && description.light) return null;
  const title = t(`guide_${name}`);
  const button = el(
    "button",
    { type: "button", "data-step": i, title, onclick: () => open(i) },
    String(i + 1),
    el("span", {}, title),
  );
  return el("li", {}, button);
}

function open(step) {
  at = step;
  guess = null;
  const { section, part = section, begin } = STEPS[step];
  begin?.();
  byId(innerWidth < 640 ? part : section).scrollIntoView({ block: "start" });
  draw();
  byId("guide").focus();
}

function close() {
  const step = at;
  at = -1;
  draw();
  document.querySelector(`[data-step="${step}"]`)?.focus();
}

function draw() {
  byId("guide").hidden = at < 0;
  for (const button of document.querySelectorAll("[data-step]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.step) === at));
  }
  if (at < 0) return;
  const { name, choices, aside } = STEPS[at];
  byId("guide").classList.toggle("aside", Boolean(aside));
  const head = el("p", { class: "count" }, t("guide_count", { step: at + 1, steps: STEPS.length }));
  const shut = el("button", { type: "button", class: "shut", "aria-label": t("guide_close"), onclick: close }, "×");
  put(byId("guide"), head, shut, el("h2", { class: "small" }, t(`guide_${name}`)), el("p", {}, t(`guide_${name}_text`)));
  if (choices)
    byId("guide").append(
      el(
        "div",
        { class: "choices" },
        Array.from({ length: choices }, (_, i) => choice(name, i)),
      ),
    );
  byId("guide").append(el("p", { id: "guide-answer", role: "status" }), onward());
}

function choice(name, i) {
  return el("button", { type: "button", "data-choice": i, onclick: () => judge(name, i) }, t(`guide_${name}_${i}`));
}

async function judge(name, chosen) {
  guess = { name, chosen };
  const found = await STEPS[at].answer();
  if (!found || guess?.name !== name || guess.chosen !== chosen) return; // another one was made meanwhile
  const { right, more = null } = found;
  for (const button of document.querySelectorAll("[data-choice]")) {
    const number = Number(button.dataset.choice);
    button.className = number === right ? "right" : number === chosen ? "wrong" : "";
  }
  const verdict = el("b", {}, t(chosen === right ? "guide_right" : "guide_wrong"));
  put(byId("guide-answer"), verdict, " ", sentence(`guide_${name}_answer`, found), more && ` ${more}`);
}

function onward() {
  const last = at === STEPS.length - 1;
  const next = STEPS.findIndex(({ network }, i) => i > at && !(network && description.light));
  return el(
    "button",
    { type: "button", class: "primary", onclick: () => (last ? close() : open(next)) },
    t(last ? "guide_done" : "guide_next"),
  );
}

// --- the answers ------------------------------------------------------------------------------------------------------

// Where the attention of the open channel has one sign at all places, go to the channel that is nearest to half and half.
function towardsBoth() {
  const attention = `${state.block}.${UNIT}.conv1`;
  const { values } = map(attention, state.channel);
  const divided = values.some((value) => value < 0) && values.some((value) => value > 0);
  if (!divided) set({ channel: mostDivided(layer(attention)) });
}

// On which stages the kernel is larger than the whole map.
function smaller() {
  const sides = config.dims.map((_, i) => Math.ceil(sideOf(i + 1)));
  const count = sides.filter((side) => side < READS).length;
  return { right: count === 0 ? 0 : count === 1 ? 1 : 2, sides: sides.join(", "), reach: READS, count };
}

async function means() {
  const { photo } = shown;
  const after = await asked(byId("guide-answer"), photo.input, { change: "mean" });
  if (!after) return null;
  const [before] = best(photo.probabilities, 1);
  const [then] = best(after.probabilities, 1);
  return {
    right: before.index === then.index ? 0 : 1,
    photo: el("bdi", {}, photo.name),
    before: el("span", { lang: labelLanguage }, before.label),
    p: percent(before.probability),
    then: el("span", { lang: labelLanguage }, then.label),
    q: percent(then.probability),
    more: [accuracyWith("mean"), t("after_training")].filter(Boolean).join(" "),
  };
}

function cheapest() {
  const dilations = [1, 3, 7];
  const near = dilations.map(NEAR_RULES.paper);
  const each = (count) => dilations.map((d, i) => count(LARGE_KERNEL, d, near[i]));
  const costs = each(spatialWeights);
  const written = { dilations, near, costs, far: each(dilatedSide), reads: each(support) };
  const texts = Object.entries(written).map(([key, numbers]) => [key, numbers.join(", ")]);
  return { right: costs.indexOf(Math.min(...costs)), ...Object.fromEntries(texts) };
}
