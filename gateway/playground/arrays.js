// Embeddings: base64 of little-endian float16 or float32, to numbers.

let halves = null;

/** All 65,536 float16 numbers as float32, by their bits. */
function table() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0x1f) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else halves[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return halves;
}

/**
 * An embedding as it travels: float16 stays so, which halves the memory of a thousand pages.
 * @param {{data: string, dtype: string, shape: number[]}} packed
 * @returns {{bits: Uint16Array|Float32Array, rows: number, dim: number}}
 */
export function unpack({ data, dtype, shape }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  const kinds = { float16: Uint16Array, float32: Float32Array };
  const [rows, dim] = shape;
  if (!kinds[dtype] || bytes.length !== rows * dim * kinds[dtype].BYTES_PER_ELEMENT) {
    throw new Error("the service sent an embedding that this page cannot read");
  }
  return { bits: new kinds[dtype](bytes.buffer), rows, dim };
}

/** The numbers of an unpacked embedding, one row after the other, into `into` if it is given. */
export function numbers({ bits }, into = new Float32Array(bits.length)) {
  if (bits instanceof Float32Array) {
    into.set(bits);
    return into;
  }
  const values = table();
  for (let index = 0; index < bits.length; index++) into[index] = values[bits[index]];
  return into;
}

/**
 * MaxSim: the sum over the query's vectors of their largest dot product with any of the page's.
 * @param {Float32Array} query rows of `dim` numbers
 * @param {Float32Array} page likewise, `pageRows` of them
 */
export function maxsim(query, page, pageRows, dim) {
  let score = 0;
  for (let q = 0; q < query.length; q += dim) {
    let best = -Infinity;
    for (let p = 0, end = pageRows * dim; p < end; p += dim) {
      let dot = 0;
      for (let k = 0; k < dim; k++) dot += query[q + k] * page[p + k];
      if (dot > best) best = dot;
    }
    score += best;
  }
  return score;
}
