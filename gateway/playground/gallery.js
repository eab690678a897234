// The pages: one card each, in order of arrival, or of the ranking.
import { $, count, make } from "./dom.js";

/** What is known of a page; `card` is its element. */
export class Page {
  constructor(file, number) {
    this.key = crypto.randomUUID?.() ?? `${Math.random()}`;
    this.file = file;
    this.number = number;
    this.several = false;
    this.thumbnail = null;
    this.score = null;
    this.card = null;
  }

  get title() {
    return this.several ? `${this.file.name}, page ${this.number}` : this.file.name;
  }
}

/** Pages in order of arrival. */
export const pages = [];

/** Add an embedded page and its card. */
export function add(page, open) {
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
  if (page.thumbnail) image.src = page.thumbnail;
  const button = make(
    "button",
    { type: "button", className: "card", on: { click: () => open(page) } },
    make("span", { className: "paper" }, image),
    make("span", { className: "name" }),
    make("span", { className: "number" }),
    make("span", { className: "score" }),
  );
  page.card = make("li", {}, button);
  pages.push(page);
  $("pages").append(page.card);
  if (page.number > 1) for (const other of pages) if (other.file === page.file) other.several = true;
  for (const other of pages) if (other.file === page.file) label(other);
  show();
}

/** Forget all pages. */
export function clear() {
  pages.length = 0;
  $("pages").replaceChildren();
  show();
}

/** Pages as they are shown: ranked ones by score, the best first. */
export function inOrder() {
  if (pages.every((page) => page.score === null)) return [...pages];
  const worth = (page) => (Number.isFinite(page.score) ? page.score : -Infinity);
  return [...pages].sort((left, right) => worth(right) - worth(left));
}

/** Bring the cards into the order of their scores and show these. */
export function rank() {
  const ordered = inOrder();
  const known = ordered.filter((page) => Number.isFinite(page.score));
  const top = known[0]?.score ?? 0;
  const bottom = known.at(-1)?.score ?? 0;
  const focused = document.activeElement;
  ordered.forEach((page, index) => {
    // Moving a card takes the focus away from it; those in place are left alone.
    const list = $("pages");
    if (list.children[index] !== page.card) list.insertBefore(page.card, list.children[index]);
    const share = Number.isFinite(page.score) ? (page.score - bottom) / (top - bottom || 1) : 0;
    page.card.style.setProperty("--share", share.toFixed(3));
    label(page, Number.isFinite(page.score) ? index + 1 : null);
  });
  if (focused !== document.activeElement) focused?.focus({ preventScroll: true });
}

function label(page, place = null) {
  const [, name, number, score] = page.card.firstChild.children;
  name.textContent = page.file.name;
  number.textContent = page.several ? `p. ${page.number}` : "";
  page.card.firstChild.title = page.title;
  page.card.classList.toggle("ranked", place !== null);
  page.card.classList.toggle("first", place === 1);
  if (place === null) {
    score.replaceChildren();
    return;
  }
  score.replaceChildren(
    make("span", { className: "unseen" }, "Rank "),
    make("b", {}, String(place)),
    make("span", { className: "unseen" }, ", score "),
    make("span", {}, page.score.toFixed(2)),
  );
}

function show() {
  $("empty").hidden = pages.length > 0;
  $("clear").hidden = pages.length === 0;
  $("pages-title").textContent = pages.length ? count(pages.length, "page") : "Pages";
  document.body.classList.toggle("has-pages", pages.length > 0);
}
