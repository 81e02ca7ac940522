// The arithmetic of large kernel attention: who reads what, what it costs, and whose share of a sum is whose.

import { digitsThatAdd } from "./numbers.js";
import { CONV0, CONV_SPATIAL } from "./van.js";

export const LARGE_KERNEL = CONV_SPATIAL.side * CONV_SPATIAL.dilation; // 21, the K of the paper
const MARGIN = CONV0.padding + CONV_SPATIAL.padding; // how far an output reads on either side
export const READS = 2 * MARGIN + 1; // the side of the square that an output reads: 23

// The places of an h x w map that have a say at a place: those of its square that are on the map.
export function within(row, column, h, w) {
  const [top, left] = [Math.max(0, row - MARGIN), Math.max(0, column - MARGIN)];
  const [bottom, right] = [Math.min(h, row + MARGIN + 1), Math.min(w, column + MARGIN + 1)];
  return { row: top, column: left, height: bottom - top, width: right - left };
}

// The offsets that a kernel reads along one axis: -6, -3, 0, 3, 6 for five taps three apart.
export function offsets(side, dilation = 1) {
  const reach = dilation * (side - 1);
  return Array.from({ length: side }, (_, tap) => dilation * tap - Math.floor(reach / 2));
}

// The terms of one output of a depthwise kernel, in the kernel's order: { row, column, weight, value, product, off }.
// A tap that is off the map multiplies padding: its value and its product are 0.
export function terms(values, h, w, kernel, channel, row, column, dilation = 1) {
  const side = kernel.shape[2];
  const steps = offsets(side, dilation);
  return steps.flatMap((down, a) =>
    steps.map((right, b) => {
      const place = { row: row + down, column: column + right };
      const off = place.row < 0 || place.row >= h || place.column < 0 || place.column >= w;
      const value = off ? 0 : values[place.row * w + place.column];
      const weight = kernel.data[(channel * side + a) * side + b];
      return { ...place, off, weight, value, product: weight * value };
    }),
  );
}

// The attention value of one channel at one place, split exactly: attention is a sum in which every number of u within reach
// has one factor. `unit` gives the weights by name, u is (1, C, H, W). Returns { shares: Float64Array (H * W), constant }.
export function split(unit, u, channel, row, column) {
  const [, channels, h, w] = u.shape;
  const [near, far, mix] = ["conv0", "conv_spatial", "conv1"].map((name) => unit(`${name}.weight`));
  const [nearBias, farBias, mixBias] = ["conv0", "conv_spatial", "conv1"].map((name) => unit(`${name}.bias`).data);
  const [nearSteps, farSteps] = [offsets(near.shape[2]), offsets(far.shape[2], CONV_SPATIAL.dilation)];
  const [nearSide, farSide] = [nearSteps.length, farSteps.length];
  const shares = new Float64Array(h * w);
  let constant = mixBias[channel];
  for (let c = 0; c < channels; c++) {
    const mixed = mix.data[channel * channels + c];
    constant += mixed * farBias[c];
    for (let tap = 0; tap < farSide * farSide; tap++) {
      const [r, s] = [row + farSteps[Math.floor(tap / farSide)], column + farSteps[tap % farSide]];
      if (r < 0 || r >= h || s < 0 || s >= w) continue; // it reads padding, where there is no near value
      const factor = mixed * far.data[c * farSide * farSide + tap];
      constant += factor * nearBias[c];
      for (let a = 0; a < nearSide; a++) {
        const y = r + nearSteps[a];
        if (y < 0 || y >= h) continue;
        for (let b = 0; b < nearSide; b++) {
          const x = s + nearSteps[b];
          const weight = near.data[(c * nearSide + a) * nearSide + b];
          if (x >= 0 && x < w) shares[y * w + x] += factor * weight * u.data[(c * h + y) * w + x];
        }
      }
    }
  }
  return { shares, constant };
}

// Where to begin: a channel and a place at which the place itself, its neighbours and the constant all have a say, the gate
// turns the feature over, and two digits are enough to write the sum.
export function telling(unit, u, attention) {
  const [, channels, h, w] = u.shape;
  const margin = Math.min(6, Math.floor((Math.min(h, w) - 1) / 2));
  const found = [];
  for (let channel = 0; channel < channels; channel++) {
    const { constant } = split(unit, u, channel, h >> 1, w >> 1); // further out it is another one, but near enough to choose by
    for (let row = margin; row < h - margin; row++) {
      for (let column = margin; column < w - margin; column++) {
        const total = attention.data[(channel * h + row) * w + column];
        const place = ownShare(unit, u, channel, row, column);
        const least = Math.min(2 * Math.abs(place), Math.abs(total - place - constant), Math.abs(constant), Math.abs(total));
        found.push({ channel, row, column, total, score: total < 0 ? least : least / 4 });
      }
    }
  }
  const best = found.sort((a, b) => b.score - a.score).slice(0, 40);
  return (
    best.find(({ channel, row, column, total }) =>
      writtenInTwo(split(unit, u, channel, row, column), row * w + column, total),
    ) ?? best[0]
  );
}

// What a place says about itself: of all pairs of taps only the two middles lead from a place to the same place.
function ownShare(unit, u, channel, row, column) {
  const [, channels, h, w] = u.shape;
  const [near, far, mix] = ["conv0", "conv_spatial", "conv1"].map((name) => unit(`${name}.weight`));
  const middle = (kernel, c) => kernel.data[c * kernel.shape[2] ** 2 + Math.floor(kernel.shape[2] ** 2 / 2)];
  let sum = 0;
  for (let c = 0; c < channels; c++) {
    const own = mix.data[channel * channels + c] * middle(far, c) * middle(near, c);
    sum += own * u.data[(c * h + row) * w + column];
  }
  return sum;
}

function writtenInTwo({ shares, constant }, at, total) {
  return digitsThatAdd([shares[at], total - shares[at] - constant, constant], total).digits === 2;
}

// The channel whose attention turns over as nearly half of the places as any.
export function mostDivided({ data, shape: [, channels, h, w] }) {
  const apart = Array.from({ length: channels }, (_, c) => {
    const turned = data.subarray(c * h * w, (c + 1) * h * w).filter((value) => value < 0).length;
    return Math.abs(2 * turned - h * w);
  });
  return apart.indexOf(Math.min(...apart));
}

// Where a map is lowest: the place whose feature the gate turns over most.
export function lowest(values, w) {
  const at = values.indexOf(values.reduce((least, value) => Math.min(least, value), Infinity));
  return { row: Math.floor(at / w), column: at % w };
}

// --- costs: minivan/lka.py --------------------------------------------------------------------------------------------

export const NEAR_RULES = { paper: (d) => 2 * d - 1, least: (d) => d }; // the near kernel's side for a dilation

export function dilatedSide(K, d) {
  return Math.ceil(K / d);
}

// The side of the square that an output reads: a near kernel of `near` x `near` under every tap of the far one.
export function support(K, d, near) {
  return near + d * (dilatedSide(K, d) - 1);
}

// Weights per channel of the two depthwise kernels.
export function spatialWeights(K, d, near) {
  return dilatedSide(K, d) ** 2 + near ** 2;
}

// Multiply-adds of one attention over a map of N places with C channels, each with a projection before and after it.
export function costs(K, d, near, C, N) {
  const projections = 2 * N * C * C;
  return {
    lka: N * C * (spatialWeights(K, d, near) + C) + projections,
    mobilenet: N * C * (K * K + C) + projections,
    self: 4 * N * C * C + 2 * N * N * C, // query, key, value and output projections among them
    dense: N * C * C * K * K + projections,
  };
}

// How many ways lead from each offset to the output along one axis: 0 is a gap.
export function ways(K, d, near) {
  const counts = Array(support(K, d, near)).fill(0);
  const output = outputAt(K, d, near);
  for (const a of offsets(near)) for (const b of offsets(dilatedSide(K, d), d)) counts[output + a + b] += 1;
  return counts;
}

// Where the output lies among them: not in the middle where a kernel has an even number of taps, of which one more lies after.
export function outputAt(K, d, near) {
  return -(offsets(near)[0] + offsets(dilatedSide(K, d), d)[0]);
}
