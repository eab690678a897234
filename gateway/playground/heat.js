// Colours of a heatmap. client/overlay.py draws the same with the same numbers.

const COLD = [255, 186, 48];
const HOT = [214, 30, 66];
const STRENGTH = 0.8;
const STEEPNESS = 1.8;
const FINENESS = 4; // pixels a patch; the browser smooths further

/**
 * Similarities to one scale from 0 (cold) to 1 (hot): each token's median is cold, the warmest
 * place of all tokens is hot.
 * @param {number[][][]} maps tokens, rows, columns
 * @returns {Float32Array[]} one a token, row by row
 */
export function heat(maps) {
  const flat = maps.map((map) => Float32Array.from(map.flat()));
  const high = Math.max(...flat.map(highest));
  return flat.map((map) => {
    const low = median(map);
    const spread = Math.max(high - low, 1e-6);
    return map.map((value) => Math.min(Math.max((value - low) / spread, 0), 1));
  });
}

/** The warmest of several maps at each place. */
export function warmest(maps) {
  return maps[0].map((_, index) => maps.reduce((most, map) => Math.max(most, map[index]), 0));
}

/** The largest number of a map. */
export const highest = (map) => map.reduce((most, value) => Math.max(most, value), -Infinity);

function median(map) {
  const sorted = Float32Array.from(map).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function colour(pixels, at, value) {
  for (let band = 0; band < 3; band++) {
    pixels[at + band] = COLD[band] + (HOT[band] - COLD[band]) * value;
  }
  pixels[at + 3] = 255 * STRENGTH * value ** STEEPNESS;
}

/**
 * Paint a map onto a canvas; what lies below shines through.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} map row by row, from 0 to 1
 * @param {number} columns
 * @param {number} rows
 */
export function paint(canvas, map, columns, rows) {
  canvas.width = columns * FINENESS;
  canvas.height = rows * FINENESS;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const across = steps(canvas.width, columns);
  const down = steps(canvas.height, rows);
  down.forEach(([top, bottom, v], y) => {
    across.forEach(([left, right, u], x) => {
      const above = map[top * columns + left] * (1 - u) + map[top * columns + right] * u;
      const below = map[bottom * columns + left] * (1 - u) + map[bottom * columns + right] * u;
      colour(picture.data, 4 * (y * canvas.width + x), above * (1 - v) + below * v);
    });
  });
  context.putImageData(picture, 0, 0);
}

/** For each pixel the two patches between whose middles it lies, and how near the second one. */
function steps(pixels, patches) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const at = Math.min(Math.max((pixel + 0.5) / FINENESS - 0.5, 0), patches - 1);
    const first = Math.floor(at);
    return [first, Math.min(first + 1, patches - 1), at - first];
  });
}

/** Paint the scale of colours, as they look on white paper. */
export function paintRamp(canvas) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, 1);
  for (let x = 0; x < canvas.width; x++) colour(picture.data, 4 * x, x / (canvas.width - 1));
  context.putImageData(picture, 0, 0);
}
