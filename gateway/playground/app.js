// The playground: files in, pages out, ranked.
import { embedFile, embedQuery, useKey } from "./api.js";
import { $, complain, count, make, say } from "./dom.js";
import { drawExamples, QUERIES } from "./examples.js";
import { listen } from "./files.js";
import { Page, add, clear, inOrder, pages, rank } from "./gallery.js";
import { forget, keep, scores } from "./ranking.js";
import { open, prepare, setQuery } from "./viewer.js";

const AT_ONCE = 2; // files on their way; the service batches across requests
const queue = [];
const stats = { files: 0, done: 0, pages: 0 };
let running = 0;
let locked = false; // until somebody gives an API key
let stop = new AbortController();
let search = null; // of the ranking that is under way
let asked = null; // query and its embedding
let soon = 0; // timer of the next ranking
let best = null; // the page that was said to be the best for it

function take(files) {
  queue.push(...files);
  stats.files += files.length;
  work();
}

function work() {
  while (!locked && running < AT_ONCE && queue.length) {
    const { signal } = stop;
    running++;
    embed(queue.shift(), signal).then((done) => {
      running--;
      if (done && !signal.aborted) stats.done++;
      work();
    });
  }
  showProgress();
  if (stats.files && stats.done === stats.files) finished();
}

/** Embed a file; resolves to whether it is done with, one way or the other. */
async function embed(file, signal) {
  try {
    for await (const found of embedFile(file, signal)) {
      if (found.error) {
        complain(found.error);
        continue;
      }
      const page = new Page(file, found.number);
      page.thumbnail = found.thumbnail;
      await keep(page.key, found.packed);
      if (signal.aborted) {
        forget(page.key);
        return true;
      }
      add(page, open);
      stats.pages++;
      showProgress();
      allowSearch();
      if (asked) rankSoon();
    }
  } catch (error) {
    if (error.status === 401) {
      queue.push(file);
      askForKey(error.message);
      return false;
    }
    if (error.name !== "AbortError") complain(`${file.name}: ${error.message}`);
  }
  return true;
}

function finished() {
  say(stats.pages ? `${count(stats.pages, "page")} embedded.` : "No pages were embedded.");
  if (stats.pages && asked) {
    clearTimeout(soon);
    rankNow().then(sayBest);
  }
  Object.assign(stats, { files: 0, done: 0, pages: 0 });
  showProgress();
  const text = $("query").value.trim();
  if (pages.length && !asked && text) find(text);
}

function showProgress() {
  const busy = stats.files > 0;
  $("progress").hidden = !busy;
  $("bar").max = Math.max(stats.files, 1);
  // Before the first file is done its count tells nothing: let the bar wander.
  if (stats.done) $("bar").value = stats.done;
  else $("bar").removeAttribute("value");
  if (busy) {
    const files = stats.files > 1 ? `${stats.done} of ${count(stats.files, "file")}, ` : "";
    const doing = locked ? "Waiting for the key" : "Embedding";
    $("progress-text").textContent = `${doing}: ${files}${count(stats.pages, "page")}`;
  }
}

function cancel() {
  stop.abort();
  stop = new AbortController();
  queue.length = 0;
  say(`Cancelled; ${count(pages.length, "page")} kept.`);
  Object.assign(stats, { files: 0, done: 0, pages: 0 });
  showProgress();
}

function allowSearch() {
  const none = pages.length === 0;
  $("query").disabled = none;
  $("search").querySelector("button").disabled = none;
}

async function find(text) {
  search?.abort();
  search = new AbortController();
  const { signal } = search;
  say("Ranking …");
  try {
    const packed = await embedQuery(text, signal);
    if (signal.aborted) return;
    asked = { text, packed };
    setQuery(text);
    best = null;
    await rankNow();
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    if (error.status === 401) askForKey(error.message);
    else complain(error.message);
  }
}

async function rankNow() {
  if (!asked) return; // everything was removed meanwhile
  const ranked = [...pages];
  const found = await scores(
    asked.packed,
    ranked.map((page) => page.key),
  );
  ranked.forEach((page, index) => {
    page.score = found[index];
  });
  rank();
  // While pages still come in only a new best one is worth a word.
  const [first] = inOrder();
  if (first && first !== best) sayBest();
}

function sayBest() {
  [best] = inOrder();
  if (!asked || !best) return;
  say(`Best of ${count(pages.length, "page")} for “${asked.text}”: ${best.title}.`);
}

function rankSoon() {
  // While pages come in by the dozen the ranking follows a few times a second.
  clearTimeout(soon);
  soon = setTimeout(rankNow, 250);
}

function askForKey(problem) {
  if (problem) complain(problem);
  locked = true;
  $("key-form").hidden = false;
  $("key").focus();
}

function forgetAll() {
  cancel();
  for (const page of pages) forget(page.key);
  clear();
  asked = null;
  setQuery("");
  $("query").value = "";
  allowSearch();
  say("All pages were removed.");
}

async function tryExamples() {
  take(await drawExamples());
  $("suggestions").hidden = false;
  $("suggestions").replaceChildren(
    ...QUERIES.map((text) =>
      make(
        "li",
        {},
        make("button", {
          type: "button",
          textContent: text,
          on: {
            click: () => {
              $("query").value = text;
              if (pages.length) find(text);
              else $("query").focus();
            },
          },
        }),
      ),
    ),
  );
}

listen($("files"), $("drop"), take);
prepare(inOrder);
$("examples").addEventListener("click", tryExamples);
$("cancel").addEventListener("click", cancel);
$("clear").addEventListener("click", forgetAll);
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value.trim();
  if (text) find(text);
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  $("key-form").hidden = true;
  locked = false;
  work();
  const text = $("query").value.trim();
  if (pages.length && asked?.text !== text && text) find(text);
});
