// Talks to the worker that ranks.

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let next = 0;

worker.onmessage = ({ data: { id, result, failure } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (failure) reject(new Error(failure));
  else resolve(result);
};

function ask(action, rest) {
  return new Promise((resolve, reject) => {
    waiting.set(++next, { resolve, reject });
    worker.postMessage({ id: next, action, ...rest });
  });
}

/** Keep a page's embedding under a key; resolves to its number of vectors. */
export const keep = (key, packed) => ask("add", { key, packed });

/** Forget a page. */
export const forget = (key) => ask("remove", { key });

/** Score a query against pages; resolves to one number a key, NaN for a page that is not there. */
export const scores = (packed, keys) => ask("rank", { packed, keys });
