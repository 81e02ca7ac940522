// The page from its first line to the first picture: the photos, the network, the sections, and what is dropped.

import { startCam } from "./cam.js";
import { startChain } from "./chain.js";
import { startChannels } from "./channels.js";
import { byId, el, put } from "./dom.js";
import { startGeometry } from "./geometry.js";
import { startGuide } from "./guide.js";
import { beginning, preview, startHook } from "./hook.js";
import { blocks, bytesOf, description, preprocessing, probabilitiesOf, replayed, run, shown, start } from "./network.js";
import { choose, startOverview } from "./overview.js";
import { fixed } from "./numbers.js";
import { decode, normalise, PhotoError, pictureOf, view } from "./photo.js";
import { startPicture } from "./picture.js";
import { channelsOf, readHash, redraw, set, state, subscribe } from "./state.js";
import { startStrip } from "./strip.js";
import { isolated, sentence, t, translate } from "./text.js";
import { CHANGES, startWhatIf } from "./whatif.js";

const photos = new Map(); // by name: { name, picture, pixels, note, logits? }
const ALL = ["photo", "block", "channel", "row", "column", "tap", "held", "change", "flat", "language"];

let asked = 0; // how often a photo was chosen

async function show(name, wished = {}) {
  const number = ++asked;
  const photo = photos.get(name);
  const input = normalise(photo.pixels, preprocessing.crop, preprocessing);
  document.body.classList.add("busy");
  put(byId("drop-said"));
  preview(photo.picture);
  let answer;
  try {
    answer = description.light ? precomputed(photo) : await run(input, { asker: "photo", wanted: "all" });
  } catch (error) {
    if (number === asked) failed(error.message);
    return;
  }
  if (number !== asked) return; // another choice was made meanwhile
  document.body.classList.remove("busy");
  shown.photo = { ...photo, ...answer, input };
  Object.assign(state, { ...beginning(wished), ...wished, photo: name, tap: null, flat: false });
  redraw(ALL);
  for (const part of document.querySelectorAll("[inert]")) part.inert = false; // it shows a photo, and there is one now
  document.body.dataset.ready = name;
}

function failed(message) {
  document.body.classList.remove("busy");
  put(byId("drop-said"), t("worker_failed", { message }));
}

// What a light page knows of its one photo.
function precomputed(photo) {
  const began = performance.now();
  const layers = replayed();
  return {
    logits: photo.python,
    probabilities: probabilitiesOf(photo.python),
    layers,
    milliseconds: performance.now() - began,
  };
}

// How far this browser's logits are from those that Python computed when the page was made.
function drawFooter() {
  const { photo } = shown;
  if (!photo) return;
  const { network, weights } = description;
  const milliseconds = fixed(photo.milliseconds, 0);
  const parts = [t(description.light ? "computed_light" : "computed", { milliseconds, network, weights: isolated(weights) })];
  if (description.light) parts.push(t("light"));
  else if (photo.python) {
    const largest = photo.logits.reduce((most, logit, i) => Math.max(most, Math.abs(logit - photo.python[i])), 0);
    parts.push(t(largest === 0 ? "same_bits" : "differs", { engine: description.engine, largest: largest.toExponential(1) }));
  } else parts.push(t("decoders"));
  put(byId("agreement"), parts.join(" "));
}

function drawGallery() {
  const buttons = [...photos.values()].map(({ name, picture }) => {
    const image = el("img", { src: picture, alt: "" });
    const pressed = String(name === state.photo);
    return el(
      "button",
      { type: "button", class: "thumb", "aria-pressed": pressed, title: name, onclick: () => show(name) },
      image,
      el("bdi", {}, name),
    );
  });
  put(byId("gallery"), buttons);
}

// What a photo of this name is called here: a second one gets a number.
function free(name) {
  for (let number = 2, called = name; ; number++) {
    if (!photos.has(called)) return called;
    called = `${name} (${number})`;
  }
}

// A photo that somebody dropped or chose; what cannot be used is said in one line.
async function take(file) {
  const say = (key, more = {}) => put(byId("drop-said"), sentence(key, { name: el("bdi", {}, file.name), ...more }));
  say("reading");
  try {
    const image = await decode(file);
    const name = free(file.name);
    const pixels = view(image, preprocessing);
    photos.set(name, { name, picture: pictureOf(image, preprocessing), pixels, note: "dropped" });
    await show(name);
  } catch (error) {
    if (error instanceof PhotoError) say(error.message);
    else say("not_computed", { message: error.message });
  }
}

// A browser would open what is dropped in the page's place. A light page cannot take it apart, and says so.
function startRefusing() {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    put(byId("drop-said"), t("light"));
  });
}

function startDropping() {
  const chooser = byId("chooser");
  chooser.addEventListener("change", () => {
    if (chooser.files[0]) take(chooser.files[0]);
    chooser.value = "";
  });
  byId("choose").addEventListener("click", () => chooser.click());
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

function startPath() {
  put(
    byId("path-block"),
    blocks.map((block) => el("option", { value: block }, block)),
  );
  byId("path-block").addEventListener("change", (event) => choose(event.target.value));
  const step = (by) => set({ channel: (state.channel + by + channelsOf(state.block)) % channelsOf(state.block) });
  byId("channel-back").addEventListener("click", () => step(-1));
  byId("channel-on").addEventListener("click", () => step(1));
  subscribe(["photo", "block", "channel", "row", "column", "language"], () => {
    byId("path-photo").textContent = state.photo;
    byId("path-block").value = state.block;
    byId("path-channel").textContent = t("channel", { channel: state.channel });
    byId("path-place").textContent = t("place", { row: state.row, column: state.column });
  });
  subscribe(["change", "language"], () => {
    byId("path-change").hidden = description.light || state.change === "none";
    byId("path-change").textContent = t(`change_${state.change}`);
  });
}

function startLanguage() {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => set({ language: button.dataset.language }));
  }
  subscribe(["language"], () => {
    translate(state.language);
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === state.language));
    }
  });
}

// The way past what comes before the three steps. Not by the address, which holds the view.
function startSkipping() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("chain").focus();
  });
}

function known() {
  return { photos: [...photos.keys()], changes: description.light ? [] : CHANGES };
}

// A link may be about a photo that somebody dropped on a page of their own.
function sayWhatIsNotHere() {
  const name = new URLSearchParams(location.hash.slice(1)).get("photo");
  if (name !== null && !photos.has(name)) put(byId("drop-said"), sentence("photo_elsewhere", { name: el("bdi", {}, name) }));
}

for (const { name, picture, pixels, note, logits } of description.photos) {
  const called = free(name);
  photos.set(called, { name: called, picture, note, pixels: bytesOf(pixels), python: Float32Array.from(logits) });
}
const wished = readHash(location.hash, known());
Object.assign(state, wished);
startLanguage();
startPath();
startSkipping();
startHook();
startOverview();
byId("terms").hidden = !description.bundled;
if (description.light) {
  document.body.classList.add("light");
  startRefusing();
} else {
  startStrip();
  startWhatIf();
  startDropping();
}
startChain();
startChannels();
startGeometry();
startCam();
startGuide();
startPicture();
subscribe(["photo", "language"], drawGallery);
subscribe(["photo", "language"], drawFooter);
translate(state.language);
redraw(["language"]);
addEventListener("hashchange", () => {
  // What a view's address leaves out is as when the page was opened: nothing changed, held, opened or made flat.
  const wanted = { change: "none", held: false, tap: null, flat: false, ...readHash(location.hash, known()) };
  if (wanted.photo && wanted.photo !== state.photo) show(wanted.photo, wanted);
  else set(wanted);
  sayWhatIsNotHere();
});
byId("opening").remove();
try {
  start(failed);
  show(state.photo, wished);
  sayWhatIsNotHere();
} catch (error) {
  failed(error.message); // there can be no worker, or the weights are not whole
}
