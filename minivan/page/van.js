// The Visual Attention Network, as in minivan/model.py: the same functions under the same names, and below them the
// operators they are made of. Guo et al. 2022, arXiv 2202.09741.
//
// A tensor is { data: Float32Array, shape: [N, C, H, W] }. Between operators numbers are float32; inside one, every sum
// is a JavaScript number, which is float64, and runs in one written order: bias, input channel, kernel row, kernel column.
// The product of two float32 numbers is exact in float64, so there is nothing that one browser could round otherwise than
// another, or than Python's engine `exact`.

import { erfc, exp } from "./erf.js";
import { matrix_product } from "./product.js";

export const UNIT = "attn.spatial_gating_unit"; // where LKA lies under a block's path
export const CONV0 = { side: 5, padding: 2 };
export const CONV_SPATIAL = { side: 7, padding: 9, dilation: 3 }; // its taps 3 apart
const DWCONV = { padding: 1 }; // 3x3
const PATCH_EMBEDS = [{ stride: 4, padding: 3 }, ...Array(3).fill({ stride: 2, padding: 1 })]; // 7x7, then 3x3

// --- the network -----------------------------------------------------------------------------------------------------
// `hook(path, tensor)` sees every tensor under its checkpoint path; what it returns, if anything, takes the tensor's place.

// What lies under a path of the checkpoint: `get` gives a tensor there, `under` what lies further down.
export class Parameters {
  constructor(tensor, path = "") {
    this.tensor = tensor;
    this.path = path;
  }
  under(name) {
    return new Parameters(this.tensor, join(this.path, name));
  }
  get(name) {
    return this.tensor(join(this.path, name));
  }
}

// Shows tensors under a path to `callback(path, tensor)`.
export class Hook {
  constructor(callback, path = "") {
    this.callback = callback;
    this.path = path;
  }
  under(name) {
    return new Hook(this.callback, join(this.path, name));
  }
  // Show the tensor at `name` ("" for this hook's own path); return it, or what the callback put in its place.
  show(name, tensor) {
    return this.callback?.(join(this.path, name), tensor) ?? tensor;
  }
}

function join(path, name) {
  return path && name ? `${path}.${name}` : path || name;
}

// Overlapping patches: a strided convolution, then BatchNorm. (N, C_in, H, W) -> (N, C, H / stride, W / stride)
function patch_embedding(hook, x, kernel, p, eps) {
  x = hook.show("proj", conv2d(x, p.get("proj.weight"), p.get("proj.bias"), kernel));
  return hook.show("norm", batch_norm(x, ...statistics(p.under("norm")), eps));
}

// Large kernel attention: u times what its 23 x 23 neighbourhood says about it. No softmax, no sigmoid.
export function lka(hook, u, p) {
  const groups = u.shape[1]; // depthwise: a group a channel
  let v = conv2d(u, p.get("conv0.weight"), p.get("conv0.bias"), { ...CONV0, groups });
  v = hook.show("conv0", v); // 5x5
  v = conv2d(v, p.get("conv_spatial.weight"), p.get("conv_spatial.bias"), { ...CONV_SPATIAL, groups });
  v = hook.show("conv_spatial", v); // 7x7, 3 apart
  const weights = hook.show("conv1", conv2d(v, p.get("conv1.weight"), p.get("conv1.bias"))); // 1x1: the channels mix
  return hook.show("", multiply(u, weights));
}

// 1x1, GELU, LKA, 1x1, and z added again: a residual that the paper's figure leaves out.
function attention(hook, z, p) {
  let u = hook.show("proj_1", conv2d(z, p.get("proj_1.weight"), p.get("proj_1.bias")));
  u = hook.show("activation", gelu(u));
  u = lka(hook.under("spatial_gating_unit"), u, p.under("spatial_gating_unit"));
  u = hook.show("proj_2", conv2d(u, p.get("proj_2.weight"), p.get("proj_2.bias")));
  return hook.show("", add(z, u));
}

// The authors' Mlp: widen, look at the 3x3 neighbourhood, GELU, narrow.
function feed_forward(hook, z, p) {
  let h = hook.show("fc1", conv2d(z, p.get("fc1.weight"), p.get("fc1.bias"))); // (N, C, H, W) -> (N, ratio * C, H, W)
  const depthwise = { ...DWCONV, groups: h.shape[1] };
  h = hook.show("dwconv.dwconv", conv2d(h, p.get("dwconv.dwconv.weight"), p.get("dwconv.dwconv.bias"), depthwise));
  h = hook.show("act", gelu(h));
  return hook.show("fc2", conv2d(h, p.get("fc2.weight"), p.get("fc2.bias"))); // (N, ratio * C, H, W) -> (N, C, H, W)
}

// Attention, then MLP, each behind BatchNorm and added to x with a learned scale per channel. (N, C, H, W), unchanged
export function block(hook, x, p, eps) {
  let z = hook.show("norm1", batch_norm(x, ...statistics(p.under("norm1")), eps));
  z = attention(hook.under("attn"), z, p.under("attn"));
  x = hook.show("layer_scale_1", add(x, scale(p.get("layer_scale_1"), z)));
  z = hook.show("norm2", batch_norm(x, ...statistics(p.under("norm2")), eps));
  z = feed_forward(hook.under("mlp"), z, p.under("mlp"));
  return hook.show("", add(x, scale(p.get("layer_scale_2"), z)));
}

// Stage i of 1..4: patch embedding, the blocks, LayerNorm over channels.
function stage(hook, x, i, p, config) {
  const eps = config.batch_norm_eps;
  const embed = `patch_embed${i}`;
  x = patch_embedding(hook.under(embed), x, PATCH_EMBEDS[i - 1], p.under(embed), eps);
  for (let j = 0; j < config.depths[i - 1]; j++) {
    const path = `block${i}.${j}`;
    x = block(hook.under(path), x, p.under(path), eps);
  }
  return hook.show(`norm${i}`, layer_norm(x, p.get(`norm${i}.weight`), p.get(`norm${i}.bias`), config.layer_norm_eps));
}

// (N, C, H, W) -> (N, C) -> (N, classes)
function classifier(hook, x, p) {
  x = hook.show("pool", global_average_pool(x));
  return hook.show("head", linear(x, p.get("head.weight"), p.get("head.bias")));
}

// The logits (N, classes) of images (N, 3, H, W). `tensor(name)` gives the parameters, `config` is minivan's Config.
export function forward(x, tensor, config, callback) {
  const hook = new Hook(callback);
  const p = new Parameters(tensor);
  x = hook.show("input", x);
  for (let i = 1; i <= config.dims.length; i++) x = stage(hook, x, i, p, config);
  return classifier(hook, x, p);
}

function statistics(p) {
  return [p.get("running_mean"), p.get("running_var"), p.get("weight"), p.get("bias")];
}

// --- the operators ---------------------------------------------------------------------------------------------------

export function zeros(...shape) {
  return { data: new Float32Array(shape.reduce((product, side) => product * side, 1)), shape };
}

// Cross-correlation with zero padding, as torch.nn.functional.conv2d: groups == C_in is depthwise, a side of 1 pointwise.
export function conv2d(x, weight, bias, { stride = 1, padding = 0, dilation = 1, groups = 1 } = {}) {
  const [c_out, c_group, side] = weight.shape;
  if (side === 1 && groups === 1 && stride === 1 && padding === 0) return pointwise(x, weight, bias);
  const [n, c_in, h_in, w_in] = x.shape;
  const [h, w] = [h_in, w_in].map((length) => Math.floor((length + 2 * padding - dilation * (side - 1) - 1) / stride) + 1);
  const y = zeros(n, c_out, h, w);
  const sums = new Float64Array(h * w); // of one output channel
  // For each tap of the kernel: the output rows and columns for which it falls on the map, and where, seen from output 0, 0.
  const taps = Array.from({ length: side * side }, (_, i) => {
    const [down, right] = [Math.floor(i / side) * dilation - padding, (i % side) * dilation - padding];
    const [rows, columns] = [reach(down, stride, h_in, h), reach(right, stride, w_in, w)];
    return { rows, columns, offset: down * w_in + right, stride, w, w_in };
  });
  for (let image = 0; image < n; image++) {
    for (let o = 0; o < c_out; o++) {
      const first = Math.floor((o * groups) / c_out) * c_group; // the first input channel of this output's group
      sums.fill(bias.data[o]);
      for (let c = 0; c < c_group; c++) {
        const map = x.data.subarray((image * c_in + first + c) * h_in * w_in);
        const kernel = weight.data.subarray((o * c_group + c) * side * side);
        for (let i = 0; i < side * side; i++) add_tap(sums, map, kernel[i], taps[i]);
      }
      y.data.set(sums, (image * c_out + o) * h * w); // rounded to float32 here, once
    }
  }
  return y;
}

// sums[i, j] += weight * map[offset + i * stride * w_in + j * stride], wherever the tap falls on the map.
function add_tap(sums, map, weight, { rows: [top, bottom], columns: [left, right], offset, stride, w, w_in }) {
  for (let i = top; i < bottom; i++) {
    const row = offset + i * stride * w_in;
    for (let j = left; j < right; j++) sums[i * w + j] += weight * map[row + j * stride];
  }
}

// The outputs low..high-1 whose input, at i * stride + offset, lies in 0..length-1.
function reach(offset, stride, length, outputs) {
  const low = Math.max(0, Math.ceil(-offset / stride));
  return [low, Math.max(low, Math.min(outputs, Math.ceil((length - offset) / stride)))];
}

// A 1x1 convolution is a matrix product: y[o, p] = bias[o] + sum over c of weight[o, c] * x[c, p].
function pointwise(x, weight, bias) {
  const [n, c_in, h, w] = x.shape;
  const c_out = weight.shape[0];
  const y = zeros(n, c_out, h, w);
  for (let image = 0; image < n; image++) {
    const [input, output] = [x.data.subarray(image * c_in * h * w), y.data.subarray(image * c_out * h * w)];
    matrix_product(input, weight.data, bias.data, output, c_in, c_out, h * w);
  }
  return y;
}

// (x - mean) / sqrt(var + eps) * weight + bias, per channel
export function batch_norm(x, running_mean, running_var, weight, bias, eps) {
  const [n, channels, h, w] = x.shape;
  const y = zeros(...x.shape);
  for (let map = 0; map < n * channels; map++) {
    const c = map % channels;
    const [mean, factor, shift] = [running_mean.data[c], weight.data[c], bias.data[c]];
    const deviation = Math.sqrt(running_var.data[c] + eps);
    for (let p = map * h * w; p < (map + 1) * h * w; p++) y.data[p] = ((x.data[p] - mean) / deviation) * factor + shift;
  }
  return y;
}

// The same over the channels of each position, with their own mean and variance.
export function layer_norm(x, weight, bias, eps) {
  const [n, channels, h, w] = x.shape;
  const positions = h * w;
  const y = zeros(...x.shape);
  for (let image = 0; image < n; image++) {
    for (let p = 0; p < positions; p++) {
      const start = image * channels * positions + p;
      let mean = 0;
      for (let c = 0; c < channels; c++) mean += x.data[start + c * positions];
      mean /= channels;
      let variance = 0;
      for (let c = 0; c < channels; c++) {
        const centred = x.data[start + c * positions] - mean;
        variance += centred * centred;
      }
      const deviation = Math.sqrt(variance / channels + eps);
      for (let c = 0; c < channels; c++) {
        const at = start + c * positions;
        y.data[at] = ((x.data[at] - mean) / deviation) * weight.data[c] + bias.data[c];
      }
    }
  }
  return y;
}

// x/2 * (1 + erf(x / sqrt 2)), the exact form, written with erfc(-z) = 1 + erf(z)
export function gelu(x) {
  const y = zeros(...x.shape);
  for (let p = 0; p < x.data.length; p++) y.data[p] = x.data[p] * 0.5 * erfc(x.data[p] * -0.7071067811865476);
  return y;
}

export function linear(x, weight, bias) {
  const [n, channels] = x.shape;
  const y = conv2d({ data: x.data, shape: [n, channels, 1, 1] }, { data: weight.data, shape: [...weight.shape, 1, 1] }, bias);
  return { data: y.data, shape: [n, weight.shape[0]] };
}

export function global_average_pool(x) {
  const [n, channels, h, w] = x.shape;
  const y = zeros(n, channels);
  for (let map = 0; map < n * channels; map++) {
    let sum = 0;
    for (let p = map * h * w; p < (map + 1) * h * w; p++) sum += x.data[p];
    y.data[map] = sum / (h * w);
  }
  return y;
}

// Over the last axis: exp(x - max) / sum exp(x - max)
export function softmax(x) {
  const y = zeros(...x.shape);
  const classes = x.shape.at(-1);
  for (let start = 0; start < x.data.length; start += classes) {
    const row = x.data.subarray(start, start + classes);
    const largest = Math.max(...row);
    const powers = Array.from(row, (value) => exp(value - largest));
    const sum = powers.reduce((total, power) => total + power, 0);
    powers.forEach((power, c) => (y.data[start + c] = power / sum));
  }
  return y;
}

function multiply(a, b) {
  const y = zeros(...a.shape);
  for (let p = 0; p < y.data.length; p++) y.data[p] = a.data[p] * b.data[p];
  return y;
}

export function add(a, b) {
  const y = zeros(...a.shape);
  for (let p = 0; p < y.data.length; p++) y.data[p] = a.data[p] + b.data[p];
  return y;
}

// Each channel times its own factor.
function scale(factors, x) {
  const [, channels, h, w] = x.shape;
  const y = zeros(...x.shape);
  for (let p = 0; p < y.data.length; p++) y.data[p] = factors.data[Math.floor(p / (h * w)) % channels] * x.data[p];
  return y;
}
