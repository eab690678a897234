// Keeps the pages' embeddings and ranks them, beside the page's own thread.
import { maxsim, numbers, unpack } from "./arrays.js";

const pages = new Map();
let scratch = new Float32Array(0);

const handlers = {
  add({ key, packed }) {
    pages.set(key, unpack(packed));
    return pages.get(key).rows;
  },
  remove({ key }) {
    pages.delete(key);
  },
  rank({ packed, keys }) {
    const query = unpack(packed);
    const rows = numbers(query);
    return keys.map((key) => {
      const page = pages.get(key);
      if (!page || page.dim !== query.dim) return NaN;
      if (scratch.length < page.bits.length) scratch = new Float32Array(page.bits.length);
      return maxsim(rows, numbers(page, scratch), page.rows, page.dim);
    });
  },
};

self.onmessage = ({ data: { id, action, ...rest } }) => {
  try {
    self.postMessage({ id, result: handlers[action](rest) });
  } catch (error) {
    self.postMessage({ id, failure: error.message });
  }
};
