// The payload: gzip in base64; four bytes of length, a head in JSON, then arrays by the planes of their bytes.

async function unpack(text) {
  const letters = atob(text);
  const packed = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) packed[at] = letters.charCodeAt(at);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(whole.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(whole.subarray(4, 4 + length)));
  return { head, bytes: whole.subarray(4 + length) };
}

// Arrays are made when they are first asked for.
class Arrays {
  constructor(bytes) {
    this.bytes = bytes;
    this.made = new Map();
  }

  get(reference) {
    if (!this.made.has(reference)) this.made.set(reference, this.make(reference));
    return this.made.get(reference);
  }

  make({ kind, at, shape }) {
    const count = shape.reduce((product, side) => product * side, 1);
    const raw = this.bytes.subarray(at);
    if (kind === "bytes") return raw.subarray(0, count);
    if (kind === "u8") return steps(raw, shape, count);
    const planes = { f32: 4, f24: 3 }[kind];
    const bits = new Uint32Array(count);
    for (let plane = 0; plane < planes; plane++) {
      const shift = 24 - 8 * plane, from = plane * count;
      for (let i = 0; i < count; i++) bits[i] |= raw[from + i] << shift;
    }
    return new Float32Array(bits.buffer);
  }
}

function steps(raw, shape, count) {
  const rows = shape[0], each = count / Math.max(1, rows);
  const ends = new Float32Array(raw.slice(0, 8 * rows).buffer);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const row = Math.floor(i / each);
    values[i] = ends[row] + ends[rows + row] * raw[8 * rows + i];
  }
  return values;
}
