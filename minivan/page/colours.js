// One signed scale for every map: blue below zero, white at zero, orange above. People who see no red or no green tell blue
// from orange; both ends are equally dark, so that in grey they say how far from zero a number is.

const STOPS = [
  [255, 255, 255],
  [249, 190, 138],
  [224, 112, 34],
  [158, 62, 4],
  [92, 33, 0],
];
const COLD = [
  [255, 255, 255],
  [160, 200, 232],
  [62, 137, 201],
  [17, 84, 153],
  [4, 44, 92],
];
const STEPS = 256;
const COVER = 0.92; // of a photo, where a number is at the scale's end
const WARM_TABLE = table(STOPS);
const COLD_TABLE = table(COLD);

function table(stops) {
  return Array.from({ length: STEPS }, (_, i) => {
    const at = (i / (STEPS - 1)) * (stops.length - 1);
    const stop = Math.min(Math.floor(at), stops.length - 2);
    return stops[stop].map((from, k) => Math.round(from + (at - stop) * (stops[stop + 1][k] - from)));
  });
}

// The colour of a number on a scale of -1..1, [red, green, blue]; beyond it, that of its end.
export function colour(value) {
  const step = Math.min(STEPS - 1, Math.round(Math.abs(value) * (STEPS - 1)));
  return (value < 0 ? COLD_TABLE : WARM_TABLE)[step] ?? [128, 128, 128]; // grey is no number
}

export function css(value) {
  return `rgb(${colour(value).join(" ")})`;
}

// The number that a scale ends at: the one further from zero than all but one in two hundred.
export function scaleOf(...arrays) {
  const magnitudes = Float32Array.from(arrays.flatMap((values) => Array.from(values, Math.abs))).sort();
  return magnitudes[Math.ceil(0.995 * magnitudes.length) - 1] || 1;
}

// Paint values, (h, w), on a canvas of w x h pixels.
export function paint(canvas, values, h, w, scale) {
  canvas.width = w;
  canvas.height = h;
  const image = new ImageData(w, h);
  for (let p = 0; p < h * w; p++) image.data.set([...colour(values[p] / scale), 255], 4 * p);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The same to be laid over a photo, which zero lets through. `opacity` makes, of a number's share of the scale, how much of the
// photo is covered: the root lets small numbers be seen too, where they are few.
export function paintOver(canvas, values, h, w, scale, opacity = Math.sqrt) {
  canvas.width = w;
  canvas.height = h;
  const image = new ImageData(w, h);
  for (let p = 0; p < h * w; p++) {
    const share = Math.min(1, Math.abs(values[p]) / scale);
    const strong = Math.sign(values[p]) * (0.35 + 0.45 * share);
    image.data.set([...colour(strong), Math.round(255 * COVER * opacity(share))], 4 * p);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
