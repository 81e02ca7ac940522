// The page's side of the engine: the weights, the worker that computes with them, and the layers of the photo that is shown.

import { byId } from "./dom.js";
import { readSafetensors } from "./safetensors.js";
import { Hook, lka, Parameters, softmax, UNIT } from "./van.js";

export const description = JSON.parse(byId("description").textContent);
export const config = description.config;
export const labels = description.labels;
export const preprocessing = description.preprocessing;
export const blocks = description.blocks;
export const labelLanguage = description.bundled ? "en" : null; // of class names: nobody knows it of other weights

// The photo that is shown: { name, picture, input, logits, probabilities, layers }; null until the first has been computed.
export const shown = { photo: null };

let weights;
let worker;
let asked = 0;
let broken = null; // why the worker will never answer
let answered = false;
const waiting = new Map(); // number of a question -> { resolve, reject }

// Start the worker; `failed(message)` is told when it cannot compute.
export function start(failed) {
  const buffer = bytesOf(byId("weights").textContent).buffer;
  weights = readSafetensors(buffer);
  if (description.light) return;
  const source = new Blob([byId("engine").textContent], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(source));
  worker.onmessage = ({ data }) => {
    answered = true;
    waiting.get(data.number)?.resolve(data);
    waiting.delete(data.number);
  };
  worker.onerror = ({ message }) => {
    if (!answered) broken = message; // it could not even begin; one that has answered may do so again
    for (const { reject } of waiting.values()) reject(new Error(message));
    waiting.clear();
    failed(message);
  };
  worker.postMessage({ buffer, config });
}

// Run the network on an input; `wanted` is "all" layers, the "stages" or, by default, the logits alone. Throws an Error where
// the worker cannot compute.
export async function run(input, { change = "none", wanted = "logits" } = {}) {
  if (broken !== null) throw new Error(broken);
  const number = ++asked;
  const answer = await new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject });
    worker.postMessage({ number, input, change, wanted });
  });
  return { ...answer, probabilities: probabilitiesOf(answer.logits) };
}

// The layers that a light page has: those that Python computed, and from them LKA, which is computed here.
export function replayed() {
  const layers = {};
  for (const name of weights.names) if (name.startsWith("layer:")) layers[name.slice(6)] = weights.tensor(name);
  for (const block of blocks) {
    const unit = `${block}.${UNIT}`;
    lka(
      new Hook((path, x) => void (layers[path] = x), unit),
      layers[`${block}.attn.activation`],
      new Parameters((name) => tensor(`${unit}.${name}`)),
    );
  }
  return layers;
}

export function tensor(name) {
  return weights.tensor(name);
}

export function probabilitiesOf(logits) {
  return softmax({ data: Float32Array.from(logits), shape: [1, logits.length] }).data;
}

// The classes with the highest probabilities: [{ index, label, probability }].
export function best(probabilities, count = 5) {
  return Array.from(probabilities, (probability, index) => ({ index, label: labels[index], probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

// One channel of a layer of the photo that is shown: { values, h, w }. A layer of more channels than the block has (the MLP's
// hidden ones) is asked for its own.
export function map(path, channel) {
  const { data, shape } = shown.photo.layers[path];
  const [, , h, w] = shape;
  return { values: data.subarray(channel * h * w, (channel + 1) * h * w), h, w };
}

export function layer(path) {
  return shown.photo.layers[path];
}

export function bytesOf(base64) {
  const text = base64.trim();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}
