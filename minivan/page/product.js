// The matrix product that takes most of the network's time: y[o, p] = bias[o] + sum over c of weight[o, c] * x[c, p].
// Two outputs by four positions at a time: eight sums in registers, each in its one order, the channels' own.

export function matrix_product(x, weight, bias, y, c_in, c_out, positions) {
  const panel = new Float64Array(4 * c_in); // four positions of every channel, one after another
  for (let p = 0; p < positions; p += 4) {
    const wide = Math.min(4, positions - p);
    for (let c = 0; c < c_in; c++) {
      for (let q = 0; q < wide; q++) panel[4 * c + q] = x[c * positions + p + q];
    }
    let o = 0;
    for (; o + 2 <= c_out; o += 2) {
      const first = o * c_in;
      const second = first + c_in;
      let a0 = bias[o],
        a1 = a0,
        a2 = a0,
        a3 = a0;
      let b0 = bias[o + 1],
        b1 = b0,
        b2 = b0,
        b3 = b0;
      for (let c = 0, at = 0; c < c_in; c++, at += 4) {
        const u = weight[first + c],
          v = weight[second + c];
        const x0 = panel[at],
          x1 = panel[at + 1],
          x2 = panel[at + 2],
          x3 = panel[at + 3];
        a0 += u * x0;
        a1 += u * x1;
        a2 += u * x2;
        a3 += u * x3;
        b0 += v * x0;
        b1 += v * x1;
        b2 += v * x2;
        b3 += v * x3;
      }
      store(y, o * positions + p, wide, a0, a1, a2, a3);
      store(y, (o + 1) * positions + p, wide, b0, b1, b2, b3);
    }
    for (; o < c_out; o++) {
      for (let q = 0; q < wide; q++) {
        let sum = bias[o];
        for (let c = 0; c < c_in; c++) sum += weight[o * c_in + c] * panel[4 * c + q];
        y[o * positions + p + q] = sum;
      }
    }
  }
}

function store(y, at, wide, v0, v1, v2, v3) {
  y[at] = v0;
  if (wide > 1) y[at + 1] = v1;
  if (wide > 2) y[at + 2] = v2;
  if (wide > 3) y[at + 3] = v3;
}
