// What the worker does: it keeps the weights, and answers each question with the layers that were asked for.

import { changed } from "./changes.js";
import { readSafetensors } from "./safetensors.js";
import { forward } from "./van.js";

let weights;
let shape; // minivan's Config

self.onmessage = ({ data: { buffer, config, input, change, wanted } }) => {
  if (buffer) {
    weights = readSafetensors(buffer);
    shape = config;
    return;
  }
  const began = performance.now();
  const layers = {};
  const replace = changed(change ?? "none", weights.tensor);
  const logits = forward(input, weights.tensor, shape, (path, x) => {
    const y = replace(path, x);
    if (wanted === "all" || (wanted === "stages" && path.startsWith("norm"))) layers[path] = y ?? x;
    return y;
  });
  const buffers = Object.values(layers).map((layer) => layer.data.buffer);
  const milliseconds = performance.now() - began;
  self.postMessage({ logits: logits.data.slice(), layers, milliseconds }, [...new Set(buffers)]);
};
