// From a file to the network's view of it, as minivan/image does it: turn, lay over white, resize as Pillow does, crop.

const MOST_BYTES = 64 << 20;
const MOST_PIXELS = 50e6;
const PRECISION = 22; // bits of Pillow's fixed-point weights for 8-bit pixels

export class PhotoError extends Error {} // its message is a key of the table of texts

// Decode an image file the way the browser does: turned as its EXIF says, its colours made sRGB as its profile says. Returns
// { data: RGBA, width, height }.
export async function decode(file) {
  if (file.size > MOST_BYTES) throw new PhotoError("too_large");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "default" });
  } catch {
    throw new PhotoError("no_image");
  }
  try {
    const { width, height } = bitmap;
    if (width * height > MOST_PIXELS) throw new PhotoError("too_large");
    if (Math.max(width, height) > 100 * Math.min(width, height)) throw new PhotoError("too_narrow");
    return pixelsOf(bitmap);
  } catch (error) {
    if (error instanceof PhotoError) throw error;
    throw new PhotoError("too_large"); // no canvas is as long as that, or there is no memory for it
  } finally {
    bitmap.close();
  }
}

// The pixels, transparent ones laid over white. The browser has no colours of those that are wholly transparent, so that a file
// of no others, which `classify` takes for an opaque one, is refused.
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const draw = (over) => {
    context.clearRect(0, 0, width, height);
    context.fillStyle = over;
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height);
  };
  const image = draw("white");
  if (image.data.every((value) => value === 255) && draw("transparent").data.every((value) => value === 0)) {
    throw new PhotoError("invisible");
  }
  return image;
}

// The central square that a preprocessing shows, RGB: resized so that the shorter side is `resize`, then cropped.
export function view(image, { resize, crop }) {
  const { width, height } = image;
  const size =
    width <= height ? [resize, Math.floor((resize * height) / width)] : [Math.floor((resize * width) / height), resize];
  return centreCrop(bicubic(image, ...size), crop);
}

function centreCrop({ data, width, height }, side) {
  const [left, top] = [width, height].map((length) => roundHalfEven((length - side) / 2));
  const cut = new Uint8ClampedArray(3 * side * side); // what lies outside the picture is zero
  for (let r = 0; r < side; r++) {
    for (let c = 0; c < side; c++) {
      const [y, x] = [top + r, left + c];
      if (y < 0 || y >= height || x < 0 || x >= width) continue;
      for (let k = 0; k < 3; k++) cut[3 * (r * side + c) + k] = data[4 * (y * width + x) + k];
    }
  }
  return cut;
}

function roundHalfEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

// Antialiased bicubic, rows first, in Pillow's own fixed-point steps: the same pixels, bit for bit. (Of pictures more than
// twice as high as wide, Pillow 13 shrinks the columns first, which rounds otherwise.)
export function bicubic(image, width, height) {
  const wide = width === image.width ? image : alongRows(image, width);
  return height === image.height ? wide : transposed(alongRows(transposed(wide), height));
}

function alongRows({ data, width, height }, outputs) {
  const windows = windowsOf(width, outputs);
  const resized = new Uint8ClampedArray(4 * outputs * height);
  for (let r = 0; r < height; r++) {
    for (let x = 0; x < outputs; x++) {
      const { first, weights } = windows[x];
      for (let k = 0; k < 3; k++) {
        let sum = 2 ** (PRECISION - 1);
        for (let i = 0; i < weights.length; i++) sum += weights[i] * data[4 * (r * width + first + i) + k];
        resized[4 * (r * outputs + x) + k] = Math.floor(sum / 2 ** PRECISION);
      }
    }
  }
  return { data: resized, width: outputs, height };
}

// For each output: the first pixel that it reads, and the weights from there on, whole numbers of 2^-22.
function windowsOf(length, outputs) {
  const scale = length / outputs;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: outputs }, (_, x) => {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * stretch + 0.5));
    const end = Math.min(length, Math.trunc(centre + 2 * stretch + 0.5));
    const inverse = 1 / stretch;
    const exact = Array.from({ length: end - first }, (_, i) => cubic((i + first - centre + 0.5) * inverse));
    const sum = exact.reduce((total, weight) => total + weight, 0);
    return { first, weights: exact.map((weight) => away((weight / sum) * 2 ** PRECISION)) };
  });
}

function away(value) {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}

function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? -0.5 * (((t - 5) * t + 8) * t - 4) : 0;
}

function transposed({ data, width, height }) {
  const turned = new Uint8ClampedArray(data.length);
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      for (let k = 0; k < 3; k++) turned[4 * (c * height + r) + k] = data[4 * (r * width + c) + k];
    }
  }
  return { data: turned, width: height, height: width };
}

// RGB pixels as the network's input, (value / 255 - mean) / std, each step rounded to float32 as NumPy's are.
export function normalise(pixels, side, { mean, std }) {
  const data = new Float32Array(3 * side * side);
  for (let p = 0; p < side * side; p++) {
    for (let k = 0; k < 3; k++) {
      const value = Math.fround(pixels[3 * p + k] / 255);
      data[k * side * side + p] = Math.fround(value - Math.fround(mean[k])) / Math.fround(std[k]);
    }
  }
  return { data, shape: [1, 3, side, side] };
}

// A picture for people of the same square, as a data: address. The browser shrinks it: quicker, and good enough for the eye.
export function pictureOf(image, { resize, crop }, side = 384) {
  const { width, height } = image;
  const whole = new OffscreenCanvas(width, height);
  whole.getContext("2d").putImageData(image, 0, 0);
  const seen = (Math.min(width, height) * crop) / resize; // pixels of the image, a side
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, (width - seen) / 2, (height - seen) / 2, seen, seen, 0, 0, side, side);
  return canvas.toDataURL("image/jpeg", 0.9);
}
