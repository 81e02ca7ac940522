// What Python's tests run with node: the page's own engine, judged from outside.
//   node port.mjs vectors DIR OUT                       every test vector's outputs, OUT/OPERATOR/CASE.safetensors
//   node port.mjs resize IN WIDTH HEIGHT TO_WIDTH TO_HEIGHT OUT   raw RGBA pixels
//   node port.mjs trace WEIGHTS CONFIG INPUT OUT [N]    every layer of one forward pass; prints the least of N times in ms
//   node port.mjs changes WEIGHTS CONFIG INPUT OUT CHANGE...   the logits with each change, under its name
//   node port.mjs halves IN          prints the bits of the float16 numbers `halves` as float32, and how the page writes them
//   node port.mjs costs [[K, d]...] C SIDE     prints the sizes and costs of these kernels, and the network's own
//   node port.mjs written IN         prints sums and products as the page writes them: { sums: [[term..., total]...],
//                                    products: [[factor, factor, product]...] }
//   node port.mjs split IN           prints the split of attention values: { tensors, u, places: [[channel, row, column]...] }
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { changed } from "../../minivan/page/changes.js";
import * as lka from "../../minivan/page/lka.js";
import { digitsThatAdd, digitsThatMultiply, signed } from "../../minivan/page/numbers.js";
import { bicubic } from "../../minivan/page/photo.js";
import { readSafetensors, writeSafetensors } from "../../minivan/page/safetensors.js";
import * as van from "../../minivan/page/van.js";

const [action, ...rest] = process.argv.slice(2);
const actions = { vectors, resize, trace, changes, halves, costs, written, split };
actions[action](...rest);

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
  const p = new van.Parameters((name) => tensors[name]);
  const groups = operator.includes("depthwise") ? { groups: x.shape[1] } : {};
  const { weight, bias, running_mean, running_var } = tensors;
  const run = {
    lka: () => van.lka(new van.Hook(keep), x, p),
    block: () => van.block(new van.Hook(keep, "block2.0"), x, p, attributes.eps),
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

function print(found) {
  console.log(JSON.stringify(found));
}

function halves(path) {
  const { data } = readSafetensors(bytesOf(path)).tensor("halves");
  const written = [0, 1, 2, 3].map((digits) => Array.from(data, (value) => signed(value, digits)));
  print({ bits: Array.from(new Uint32Array(data.buffer)), written });
}

function costs(asked, channels, side) {
  const { NEAR_RULES, ways, outputAt, support, spatialWeights, dilatedSide } = lka;
  const kernels = JSON.parse(asked).map(([K, d]) => {
    const near = NEAR_RULES.paper(d);
    return {
      near,
      dilated_side: dilatedSide(K, d),
      support: support(K, d, near),
      spatial_weights: spatialWeights(K, d, near),
      ways: ways(K, d, near),
      least_ways: ways(K, d, NEAR_RULES.least(d)),
      narrower_ways: ways(K, d, NEAR_RULES.least(d) - 1),
      outputs: [near, NEAR_RULES.least(d)].map((side) => outputAt(K, d, side)),
      costs: lka.costs(K, d, near, Number(channels), Number(side) ** 2),
    };
  });
  const { CONV0, CONV_SPATIAL } = van;
  print({ kernels, CONV0, CONV_SPATIAL, LARGE_KERNEL: lka.LARGE_KERNEL, READS: lka.READS });
}

function written(path) {
  const asked = JSON.parse(readFileSync(path, "utf8"));
  const sums = asked.sums.map((numbers) => {
    const { digits, rounding } = digitsThatAdd(numbers.slice(0, -1), numbers.at(-1));
    return [...numbers.slice(0, -1), rounding, numbers.at(-1)].map((value) => signed(value, digits));
  });
  const products = asked.products.map(([a, b, product]) => {
    const { digits, equals } = digitsThatMultiply(a, b, product);
    return [signed(a, digits), signed(b, digits), equals, signed(product, 3)];
  });
  print({ sums, products });
}

function split(path) {
  const { tensors, u, places } = JSON.parse(readFileSync(path, "utf8"));
  const [, , h, w] = u.shape;
  const found = places.map(([channel, row, column]) => {
    const { shares, constant } = lka.split((name) => tensors[name], u, channel, row, column);
    return { shares: Array.from(shares), constant, within: lka.within(row, column, h, w) };
  });
  print(found);
}
