// Small helpers around the document. Text goes in as text only: names of files are strangers' words.

/** Return the element of an id. */
export const $ = (id) => document.getElementById(id);

/**
 * Build an element.
 * @param {string} tag
 * @param {object} attributes properties; `on` holds listeners, `aria-…` and `data-…` are attributes
 * @param {...(Node|string|null)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name.includes("-") || name === "for" || name === "role") {
      element.setAttribute(name, value);
    } else {
      element[name] = value;
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Tell people who cannot see what changes what has changed. */
export function say(text) {
  $("status").textContent = text;
}

/** Show a problem, in words, until it is dismissed. */
export function complain(text) {
  const known = [...$("messages").querySelectorAll("span")].some((span) => span.textContent === text);
  if (known) return;
  const item = make(
    "div",
    { className: "message", role: "alert" },
    make("span", {}, text),
    make("button", {
      type: "button",
      className: "quiet",
      textContent: "Dismiss",
      on: { click: () => item.remove() },
    }),
  );
  $("messages").append(item);
}

/** "1 page", "2 pages". */
export const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
