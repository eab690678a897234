// The service: requests, streams of lines, and every failure in words.

let key = "";

/** Use an API key from now on; it is kept in memory only. */
export function useKey(value) {
  key = encodeURI(value); // a header cannot carry every character, and keys have only plain ones
}

/** A request that did not work out; `message` is for people. */
export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const UNREACHABLE = "The service cannot be reached. Is it still running?";

async function post(path, body, { signal, accept = "application/json" } = {}) {
  const headers = { accept };
  if (key) headers.authorization = `Bearer ${key}`;
  if (!(body instanceof FormData)) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServiceError(UNREACHABLE);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  let text = `The service answered with status ${response.status}.`;
  try {
    text = inWords((await response.json()).error) || text;
  } catch {
    // No JSON: a proxy's own page, say. The status is all there is.
  }
  if (response.status === 401) text = key ? "The service does not know this API key." : "";
  return new ServiceError(text, response.status);
}

function inWords(error) {
  const text = error?.message ?? "";
  return text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/**
 * Embed the pages of one file.
 * @param {File} file an image or a PDF
 * @param {AbortSignal} signal
 * @yields {{number: number, packed?: object, thumbnail?: string, error?: string}} pages as they come
 */
export async function* embedFile(file, signal) {
  const form = new FormData();
  form.append("files", file, file.name);
  form.append("thumbnails", "true");
  form.append("encoding_format", "base64");
  const response = await post("/embed_images", form, { signal, accept: "application/x-ndjson" });
  for await (const line of lines(response)) {
    const number = line.page ?? line.index + 1;
    if (line.error) yield { number, error: inWords(line.error) };
    else yield { number, packed: packed(line), thumbnail: line.thumbnail };
  }
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += value ?? "";
      const parts = rest.split("\n");
      rest = done ? "" : parts.pop();
      for (const part of parts) if (part.trim()) yield JSON.parse(part);
      if (done) return;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The connection broke before all pages had come back.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Embed a query; resolves to the packed embedding. */
export async function embedQuery(text, signal) {
  const body = { items: [text], encoding_format: "base64" };
  const [found] = await (await post("/embed_queries", body, { signal })).json();
  return packed(found);
}

const packed = ({ embedding, dtype, shape }) => ({ data: embedding, dtype, shape });

/**
 * Ask where on a page the query's tokens find their like.
 * @returns {Promise<{tokens: string[], grid: number[], maps: number[][][], image: string}>}
 */
export async function heatmap(file, number, query, signal) {
  const form = new FormData();
  form.append("files", file, file.name);
  form.append("query", query);
  form.append("number", String(number));
  form.append("return_image", "true");
  return (await post("/heatmap", form, { signal })).json();
}
