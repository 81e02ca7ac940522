// What Python's tests run with node: the page's own engine, judged from outside.
//   node port.mjs vectors DIR OUT                       every test vector's outputs, OUT/OPERATOR/CASE.safetensors
//   node port.mjs resize IN WIDTH HEIGHT TO_WIDTH TO_HEIGHT OUT   raw RGBA pixels
//   node port.mjs trace WEIGHTS CONFIG INPUT OUT [N]    every layer of one forward pass; prints the least of N times in ms
//   node port.mjs changes WEIGHTS CONFIG INPUT OUT CHANGE...   the logits with each change, under its name
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { changed } from "../../minivan/page/changes.js";
import { bicubic } from "../../minivan/page/photo.js";
import { readSafetensors, writeSafetensors } from "../../minivan/page/safetensors.js";
import * as van from "../../minivan/page/van.js";

const [action, ...rest] = process.argv.slice(2);
if (action === "vectors") vectors(...rest);
else if (action === "resize") resize(...rest);
else if (action === "changes") changes(...rest);
else trace(...rest);

function bytesOf(path) {
  const read = readFileSync(path);
  return read.buffer.slice(read.byteOffset, read.byteOffset + read.length);
}

function write(path, tensors) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, writeSafetensors(tensors));
}

function npy(path, shape) {
  const bytes = bytesOf(path);
  return { data: new Float32Array(bytes.slice(10 + new DataView(bytes).getUint16(8, true))), shape };
}

function vectors(folder, out) {
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  for (const { name, operator, attributes, inputs, parameters } of manifest.cases) {
    const read = (entry) => npy(join(folder, entry.file), entry.shape);
    const tensors = Object.fromEntries(Object.entries(parameters).map(([key, entry]) => [key, read(entry)]));
    write(join(out, `${name}.safetensors`), outputs(operator, attributes, read(inputs.x), tensors));
  }
}

function resize(from, width, height, toWidth, toHeight, out) {
  const image = { data: new Uint8ClampedArray(bytesOf(from)), width: Number(width), height: Number(height) };
  writeFileSync(out, bicubic(image, Number(toWidth), Number(toHeight)).data);
}

function outputs(operator, attributes, x, tensors) {
  const found = {};
  const keep = (path, tensor) => void (found[path || "lka"] = tensor);
  const p = van.parameters((name) => tensors[name]);
  const groups = operator.includes("depthwise") ? { groups: x.shape[1] } : {};
  const { weight, bias, running_mean, running_var } = tensors;
  const run = {
    lka: () => van.lka(van.hook(keep), x, p),
    block: () => van.block(van.hook(keep, "block2.0"), x, p, attributes.eps),
    network: () => van.forward(x, (name) => tensors[name], attributes, keep),
    batch_norm: () => van.batch_norm(x, running_mean, running_var, weight, bias, attributes.eps),
    layer_norm: () => van.layer_norm(x, weight, bias, attributes.eps),
    linear: () => van.linear(x, weight, bias),
    gelu: () => van.gelu(x),
    softmax: () => van.softmax(x),
    global_average_pool: () => van.global_average_pool(x),
  };
  const y = (run[operator] ?? (() => van.conv2d(x, weight, bias, { ...attributes, ...groups })))();
  if (Object.keys(found).length === 0) found.y = y;
  delete found.input;
  return found;
}

function trace(weights, config, input, out, times = 1) {
  const file = readSafetensors(bytesOf(weights));
  const shape = readSafetensors(bytesOf(input)).tensor("input");
  const description = JSON.parse(readFileSync(config, "utf8"));
  let least = Infinity;
  let layers;
  for (let i = 0; i < times; i++) {
    layers = {};
    const began = performance.now();
    van.forward(shape, file.tensor, description, (path, tensor) => void (layers[path] = tensor));
    const took = performance.now() - began;
    if (i === 0) console.error(`first ${took.toFixed(0)} ms`);
    least = Math.min(least, took);
  }
  write(out, layers);
  console.log(least.toFixed(0));
}

function changes(weights, config, input, out, ...names) {
  const { tensor } = readSafetensors(bytesOf(weights));
  const x = readSafetensors(bytesOf(input)).tensor("input");
  const shape = JSON.parse(readFileSync(config, "utf8"));
  write(out, Object.fromEntries(names.map((name) => [name, van.forward(x, tensor, shape, changed(name, tensor))])));
}
