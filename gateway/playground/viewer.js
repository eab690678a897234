// One page, large, with the heat of the query's tokens over it.
import { heatmap } from "./api.js";
import { $, make } from "./dom.js";
import { heat, highest, paint, paintRamp, warmest } from "./heat.js";

const kept = new Map(); // of the current query: page key -> what /heatmap answered
let query = "";
let order = () => [];
let page = null;
let call = null;
let leads = false; // whether the focus goes to the tokens when they are there

/** Prepare the viewer; `inOrder` gives the pages between which it can go. */
export function prepare(inOrder) {
  order = inOrder;
  paintRamp($("ramp"));
  $("sheet-image").addEventListener("load", ({ target: { naturalWidth, naturalHeight } }) => {
    $("sheet").style.setProperty("--ratio", (naturalWidth / naturalHeight).toFixed(4));
  });
  $("close").addEventListener("click", () => $("viewer").close());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("viewer").addEventListener("close", () => {
    call?.abort();
    page?.card?.firstChild.focus();
  });
  $("viewer").addEventListener("keydown", (event) => {
    // Arrows belong to the tokens; these two turn pages from anywhere.
    if (event.key === "PageUp" || event.key === "PageDown") {
      event.preventDefault();
      step(event.key === "PageUp" ? -1 : 1);
    }
  });
  $("tokens").addEventListener("mouseleave", () => showToken(selected()));
}

/** Say what is looked for; heatmaps of another query are forgotten. */
export function setQuery(text) {
  if (text !== query) kept.clear();
  query = text;
}

/** Open the viewer on a page. */
export function open(wanted) {
  leads = !$("viewer").open || $("token-list").contains(document.activeElement);
  page = wanted;
  if (!$("viewer").open) $("viewer").showModal();
  show();
}

function step(by) {
  const all = order();
  const next = all[all.indexOf(page) + by];
  if (next) open(next);
}

async function show() {
  call?.abort();
  call = new AbortController();
  const { signal } = call;
  const shown = page;
  const all = order();
  const place = all.indexOf(page);
  $("viewer-title").textContent = page.title;
  $("previous").disabled = place <= 0;
  $("next").disabled = place >= all.length - 1;
  if (document.activeElement === document.body || document.activeElement.disabled) {
    $("close").focus(); // a button that has just been disabled lets go of the focus
  }
  const ranked = Number.isFinite(page.score);
  $("viewer-score").textContent = ranked
    ? `Rank ${place + 1} of ${all.length}, score ${page.score.toFixed(2)}`
    : "";
  $("sheet-image").src = page.thumbnail ?? "";
  $("sheet-image").alt = page.title;
  $("tokens").hidden = $("legend").hidden = true;
  $("heat").hidden = true;
  $("token-text").textContent = "";
  if (!query) {
    $("viewer-status").textContent = "Ask for something to see where on this page it is.";
    return;
  }
  $("viewer-status").textContent = "Looking …";
  try {
    if (!kept.has(page.key)) {
      const asked = query;
      const found = await heatmap(page.file, page.number, asked, signal);
      if (asked === query) kept.set(shown.key, { ...found, warmth: heat(found.maps) });
      if (shown !== page || signal.aborted) return;
    }
    $("viewer-status").textContent = "";
    fill(kept.get(page.key));
  } catch (error) {
    if (error.name !== "AbortError") $("viewer-status").textContent = error.message;
  }
}

function fill({ tokens, image }) {
  if (image) $("sheet-image").src = image;
  if (!tokens.length) {
    $("viewer-status").textContent = "The model sees no words in this query.";
    return;
  }
  const groups = words(tokens);
  $("token-list").replaceChildren(
    make("span", { className: "word" }, token("All tokens", -1)),
    ...groups.map((word) =>
      make("span", { className: "word" }, ...word.map((index) => token(tokens[index], index))),
    ),
  );
  $("tokens").hidden = $("legend").hidden = false;
  $("heat").hidden = false;
  showToken(-1);
  if (leads) $("token-list").querySelector("input").focus({ preventScroll: true });
}

/** Indices of the tokens of each word of the query: pieces of one word stand together. */
function words(tokens) {
  const groups = [];
  let at = 0;
  tokens.forEach((text, index) => {
    const found = query.indexOf(text, at);
    const joined = index > 0 && found === at;
    if (joined) groups.at(-1).push(index);
    else groups.push([index]);
    if (found >= 0) at = found + text.length;
  });
  return groups;
}

function token(text, index) {
  const input = make("input", {
    type: "radio",
    name: "token",
    value: String(index),
    checked: index < 0,
    on: { change: () => showToken(index), focus: () => showToken(index) },
  });
  return make("label", { on: { mouseenter: () => showToken(index) } }, input, make("span", {}, text));
}

function selected() {
  return Number($("token-list").querySelector("input:checked")?.value ?? -1);
}

function showToken(index) {
  const found = kept.get(page?.key);
  if (!found) return;
  const [columns, rows] = found.grid;
  paint($("heat"), index < 0 ? warmest(found.warmth) : found.warmth[index], columns, rows);
  $("heat").dataset.token = String(index);
  if (index < 0) {
    $("token-text").textContent = "Each place shows its warmest token. Arrow keys go through them.";
    return;
  }
  const best = highest(found.maps[index].flat()).toFixed(2);
  $("token-text").textContent = `“${found.tokens[index]}”: best similarity on this page ${best}`;
}
