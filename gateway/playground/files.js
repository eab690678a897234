// Files by drop, choice and paste.
import { complain } from "./dom.js";

const NAMES = /\.(pdf|png|jpe?g|webp|tiff?|gif|bmp)$/i;
const TYPES = /^(application\/pdf|image\/(png|jpeg|webp|tiff|gif|bmp))$/;

/**
 * Call `take` with files whenever somebody brings some.
 * @param {HTMLInputElement} input
 * @param {HTMLElement} target shows that it would take what is dragged
 * @param {(files: File[]) => void} take
 */
export function listen(input, target, take) {
  const offer = (files) => {
    const good = [...files].filter(wanted);
    if (good.length) take(good);
  };
  input.addEventListener("change", () => {
    offer(input.files);
    input.value = "";
  });
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    target.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) target.classList.remove("over");
  });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    target.classList.remove("over");
    offer(await dropped(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) offer(event.clipboardData.files);
  });
}

// A piece of text that somebody drags into the query is none of ours.
const holdsFiles = (event) => [...event.dataTransfer.types].includes("Files");

function wanted(file) {
  if (NAMES.test(file.name) || TYPES.test(file.type)) return true;
  complain(`${file.name} is no PDF and no image (PNG, JPEG, WebP, TIFF, GIF or BMP).`);
  return false;
}

/** Files of a drop, those in folders included. */
async function dropped(transfer) {
  // Entries are gone once this function has waited for anything.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found.filter((file) => NAMES.test(file.name));
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // Browsers hand over a hundred at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}
