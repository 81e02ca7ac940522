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
let broken = null; // why the worker will never answer
let answered = false;
let current = null; // the question that the worker answers: { asker, message, resolve, reject }
let waiting = []; // those that come after it, of each asker one

// Start the worker; `failed(message)` is told when it cannot compute.
export function start(failed) {
  const buffer = bytesOf(byId("weights").textContent).buffer;
  weights = readSafetensors(buffer);
  if (description.light) return;
  const source = new Blob([byId("engine").textContent], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(source));
  worker.onmessage = ({ data }) => {
    answered = true;
    current?.resolve(data);
    ask(waiting.shift());
  };
  worker.onerror = ({ message }) => {
    if (!answered) broken = message; // it could not even begin; one that has answered may do so again
    const unanswered = [current, ...waiting];
    [current, waiting] = [null, []];
    for (const question of unanswered) question?.reject(new Error(message));
    failed(message);
  };
  worker.postMessage({ buffer, config });
}

function ask(question) {
  current = question ?? null;
  if (question) worker.postMessage(question.message);
}

// Run the network on an input; `wanted` is "all" layers, the "stages" or, by default, the logits alone. The worker answers one
// question at a time. Of those that wait for it the last of each `asker` is kept: the others are answered by null. Throws an
// Error where the worker cannot compute.
export async function run(input, { asker, change = "none", wanted = "logits" }) {
  if (broken !== null) throw new Error(broken);
  const answer = await new Promise((resolve, reject) => {
    const question = { asker, message: { input, change, wanted }, resolve, reject };
    if (!current) return ask(question);
    const at = waiting.findIndex((each) => each.asker === asker);
    if (at < 0) return waiting.push(question);
    waiting[at].resolve(null);
    return (waiting[at] = question);
  });
  return answer && { ...answer, probabilities: probabilitiesOf(answer.logits) };
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
