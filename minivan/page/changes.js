// What the page may change in every block of the trained network, without training it again. A change is a hook: it sees
// each tensor on its way and may put another in its place. Accuracies with each: benchmarks/page.py, under the same names.

import { exp } from "./erf.js";
import { add, CONV_SPATIAL, conv2d, UNIT, zeros } from "./van.js";

// Return the hook of a change: "none", "one", "mean", "sigmoid", "add", "taps5" (the far kernel's middle 5 x 5), "dilation2".
export function changed(change, tensor) {
  const kept = {}; // the block's tensors so far
  return (path, x) => {
    const [, block, name] = path.match(/^(block\d\.\d+)\.(.*)$/) ?? [];
    if (!block) return undefined;
    kept[name] = x;
    if (name === `${UNIT}.conv1` && REPLACED[change]) return REPLACED[change](x);
    if (name === UNIT && change === "add") return add(kept["attn.activation"], kept[`${UNIT}.conv1`]);
    const [, kind, digit] = change.match(/^(taps|dilation)(\d)$/) ?? [];
    if (name !== `${UNIT}.conv_spatial` || !kind) return undefined;
    const weight = tensor(`${path}.weight`);
    const far = kind === "taps" ? { weight: middle(weight, Number(digit)) } : { weight, dilation: Number(digit) };
    return reach_differently(kept[`${UNIT}.conv0`], tensor(`${path}.bias`), far);
  };
}

const REPLACED = {
  one: (x) => ({ data: new Float32Array(x.data.length).fill(1), shape: x.shape }),
  sigmoid: (x) => ({ data: x.data.map((value) => 1 / (1 + exp(-value))), shape: x.shape }),
  mean: means,
};

// Each map replaced by its own mean: what is left says how much a channel counts, and no longer where.
function means(x) {
  const [n, channels, h, w] = x.shape;
  const y = zeros(...x.shape);
  for (let map = 0; map < n * channels; map++) {
    let sum = 0;
    for (let p = map * h * w; p < (map + 1) * h * w; p++) sum += x.data[p];
    y.data.fill(sum / (h * w), map * h * w, (map + 1) * h * w);
  }
  return y;
}

// The far kernel's middle, taps x taps of it.
function middle(weight, taps) {
  const [channels, , side] = weight.shape;
  const cut = zeros(channels, 1, taps, taps);
  const margin = (side - taps) / 2;
  for (let c = 0; c < channels; c++) {
    for (let a = 0; a < taps; a++) {
      const row = (c * side + margin + a) * side + margin;
      cut.data.set(weight.data.subarray(row, row + taps), (c * taps + a) * taps);
    }
  }
  return cut;
}

function reach_differently(near, bias, { weight, dilation = CONV_SPATIAL.dilation }) {
  const padding = ((weight.shape[2] - 1) / 2) * dilation;
  return conv2d(near, weight, bias, { padding, dilation, groups: near.shape[1] });
}
