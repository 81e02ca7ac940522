// exp and erfc from +, -, * and / alone, as in minivan/ops/activation.py: the same operations in the same order.
// Math.exp would do for the eye, but each browser has its own, and this page promises the bits of Python's engine `exact`.

const LOG2_E = 1.4426950408889634;
const LN2_HIGH = 0.6931471803691238; // ln 2 in two pieces; k * LN2_HIGH is exact
const LN2_LOW = 1.9082149292705877e-10;
const ROUND = 6755399441055744; // 1.5 * 2^52: adding it and taking it away rounds to a whole number
const EXP_SERIES = [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((k) => 1 / factorial(k));

// (1 + 2t) exp(t^2) erfc(t) as a polynomial in (t - 4) / (t + 4), highest power first.
const ERFC_SCALED = [
  1.6403183696752708e-9, -6.984021100158542e-9, -1.673812797437216e-8, 9.290772873032215e-8, 7.202517584836005e-8,
  -8.019174684327191e-7, 2.968409172531307e-7, 5.6894090899650724e-6, -1.1224122281497544e-5, -2.4387691264306046e-5,
  0.00015062257137043143, -0.0001992610018544279, -0.0007577735257382458, 0.005031971017234254, -0.016197734020451597,
  0.03716751538360477, -0.06633036581541651, 0.0937328350110569, -0.10103906603618064, 0.06809705425420673,
  0.015379652102618402, -0.139621116840557, 1.2329951186255526,
];

function factorial(k) {
  return k ? k * factorial(k - 1) : 1;
}

function polynomial(x, coefficients) {
  let y = 0;
  for (let i = 0; i < coefficients.length; i++) y = y * x + coefficients[i];
  return y;
}

const bits = new Int32Array(2);
const number = new Float64Array(bits.buffer);
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0]; // the half that holds the exponent, by the machine's byte order

// 2^k for a whole number k in -1022..1023, by writing the exponent's bits.
function powerOfTwo(k) {
  bits[HIGH] = (k + 1023) << 20;
  bits[1 - HIGH] = 0;
  return number[0];
}

// e^x. With x = k ln 2 + r and |r| <= ln 2 / 2: 2^k times the series of e^r to r^13.
export function exp(x) {
  if (x < -746) x = -746; // from here on 0; NaN passes through both lines
  if (x > 710) x = 710; // from here on infinity
  const k = x * LOG2_E + ROUND - ROUND;
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  const half = k * 0.5 + ROUND - ROUND; // 2^k in two factors: k itself may lie outside the exponent's range
  return polynomial(r, EXP_SERIES) * powerOfTwo(half) * powerOfTwo(k - half);
}

// 1 - erf(x), with its digits kept where it is tiny: for t = |x|, exp(-t^2) P((t - 4) / (t + 4)) / (1 + 2t).
export function erfc(x) {
  let t = Math.abs(x);
  if (t > 28) t = 28; // erfc(28) is 0
  const tail = (exp(-t * t) * polynomial((t - 4) / (t + 4), ERFC_SCALED)) / (1 + 2 * t);
  return x < 0 ? 2 - tail : tail;
}
