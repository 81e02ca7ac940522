// safetensors files: a header's length (8 bytes), the header (JSON), then the tensors' bytes.
// https://github.com/huggingface/safetensors#format

const READERS = { F32: float32, F16: float16 };

// Return { names, metadata, tensor(name) } of a file's bytes. A tensor is decoded when it is first asked for:
// { data: Float32Array, shape }. Throws an Error for a file that is not what it claims to be.
export function readSafetensors(buffer) {
  if (buffer.byteLength < 8) throw new Error("not a safetensors file: it is shorter than its own beginning");
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (length > buffer.byteLength - 8) throw new Error("not a safetensors file: its header is longer than the file");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const entries = new Map(Object.entries(header));
  const metadata = entries.get("__metadata__") ?? {};
  entries.delete("__metadata__");
  const decoded = new Map();

  function tensor(name) {
    if (!decoded.has(name)) {
      const entry = entries.get(name);
      if (!entry) throw new Error(`the weights have no tensor ${name}`);
      decoded.set(name, decode(buffer, 8 + length, name, entry));
    }
    return decoded.get(name);
  }
  return { names: [...entries.keys()], metadata, tensor };
}

function decode(buffer, start, name, { dtype, shape, data_offsets: [begin, end] }) {
  const size = shape.reduce((product, side) => product * side, 1);
  const bytes = { F32: 4, F16: 2 }[dtype];
  if (!bytes) throw new Error(`${name} is of dtype ${dtype}; float16 and float32 are read here`);
  if (end - begin !== size * bytes || start + end > buffer.byteLength) throw new Error(`${name} is cut short`);
  return { data: READERS[dtype](buffer, start + begin, size), shape };
}

function float32(buffer, start, size) {
  return new Float32Array(buffer.slice(start, start + 4 * size)); // a copy: tensors need not begin at a multiple of four
}

// Every float16 is a float32: a new exponent, the fraction moved to the left. Exact, subnormals, infinities and NaN too.
function float16(buffer, start, size) {
  const halves = new Uint16Array(buffer.slice(start, start + 2 * size));
  const numbers = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const half = halves[i];
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) numbers[i] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) numbers[i] = sign * fraction * 2 ** -24;
    else numbers[i] = sign * (1 + fraction / 1024) * POWERS[exponent];
  }
  return numbers;
}

const POWERS = Array.from({ length: 31 }, (_, exponent) => 2 ** (exponent - 15));

// Return the bytes of a file with these tensors, { name: { data: Float32Array, shape } }, as float32: a trace, say.
export function writeSafetensors(tensors, metadata = {}) {
  const header = { __metadata__: metadata };
  let end = 0;
  for (const [name, { data, shape }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * data.length)] };
  }
  let text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(32);
  padded.set(text);
  const bytes = new Uint8Array(8 + padded.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded.length), true);
  bytes.set(padded, 8);
  let at = 8 + padded.length;
  for (const { data } of Object.values(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, 4 * data.length), at);
    at += 4 * data.length;
  }
  return bytes;
}
