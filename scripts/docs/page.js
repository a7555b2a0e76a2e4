// What runs in every page: the menu on narrow screens, buttons to copy code, and the search. The index of the search is a
// script beside the page, loaded when it is first needed: that works without a server too.

/** @typedef {{ pages: [string, string][], sections: [number, string, string, string][] }} Index */

const input = document.getElementById("search");
const results = document.getElementById("results");

/* The menu. */
const menu = document.querySelector(".menu");
menu.addEventListener("click", () => {
  const open = document.getElementById("sidebar").classList.toggle("open");
  menu.setAttribute("aria-expanded", String(open));
});
// A long list: the page one is on must be in sight.
document.querySelector(".sidebar [aria-current]")?.scrollIntoView({ block: "nearest" });

/* Copying: of a shell block its commands, of others all. */
function codeOf(pre) {
  const text = pre.textContent;
  const commands = text.split("\n").filter((l) => l.startsWith("$ "));
  return pre.dataset.language === "sh" && commands.length > 0 ? commands.map((l) => l.slice(2)).join("\n") : text;
}
for (const pre of document.querySelectorAll("pre.code")) {
  if (navigator.clipboard === undefined) break;
  const wrap = document.createElement("div");
  wrap.className = "wrap";
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(codeOf(pre));
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
  pre.replaceWith(wrap);
  wrap.append(pre, button);
}

/* The search. */
let loading = null;
function loadIndex() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "search-index.js";
    script.onload = () => resolve(globalThis.tilewrightIndex);
    script.onerror = reject;
    document.head.append(script);
  });
  return loading;
}

/** How well a section answers: 0 when a word is nowhere in it. */
function scoreOf(words, page, heading, text) {
  const [p, h, t] = [page.toLowerCase(), heading.toLowerCase(), text.toLowerCase()];
  let score = 0;
  for (const w of words) {
    const s =
      (h === w ? 60 : 0) +
      (startsWord(h, w) ? 30 : h.includes(w) ? 15 : 0) +
      (p.includes(w) ? 8 : 0) +
      (startsWord(t, w) ? 4 : t.includes(w) ? 1 : 0);
    if (s === 0) return 0;
    score += s;
  }
  return score + 2 / (1 + h.length / 10);
}
function startsWord(text, word) {
  for (let i = text.indexOf(word); i >= 0; i = text.indexOf(word, i + 1)) if (i === 0 || !/[\p{L}\p{N}]/u.test(text[i - 1])) return true;
  return false;
}

/** Puts text into an element with the words marked. */
function marked(parent, text, words) {
  const lower = text.toLowerCase();
  let at = 0;
  while (at < text.length) {
    const [next, word] = words.reduce(
      (best, w) => {
        const i = lower.indexOf(w, at);
        return i >= 0 && i < best[0] ? [i, w] : best;
      },
      [text.length, ""],
    );
    parent.append(text.slice(at, next));
    if (next === text.length) break;
    const mark = document.createElement("mark");
    mark.textContent = text.slice(next, next + word.length);
    parent.append(mark);
    at = next + word.length;
  }
}

function snippetOf(text, words) {
  const lower = text.toLowerCase();
  const first = words.map((w) => lower.indexOf(w)).filter((i) => i >= 0);
  const begin = Math.max(0, Math.min(...first, text.length) - 40);
  const from = begin === 0 ? 0 : text.indexOf(" ", begin) + 1;
  return `${from > 0 ? "…" : ""}${text.slice(from, from + 160)}${from + 160 < text.length ? "…" : ""}`;
}

async function search() {
  const words = input.value
    .toLowerCase()
    .split(/\s+/)
    .filter((w) => w !== "");
  if (words.length === 0) return close();
  const { pages, sections } = await loadIndex();
  const found = sections
    .map(([page, id, heading, text]) => ({ page: pages[page], id, heading, text, score: scoreOf(words, pages[page][1], heading, text) }))
    .filter((f) => f.score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, 12);
  results.replaceChildren(...found.map((f, i) => resultOf(f, words, i)));
  if (found.length === 0) {
    const none = document.createElement("p");
    none.textContent = "Nothing was found.";
    results.append(none);
  }
  results.hidden = false;
  input.setAttribute("aria-expanded", "true");
  select(0);
}

function resultOf({ page: [name, title], id, heading, text }, words, i) {
  const a = document.createElement("a");
  a.href = `${name}.html${id === "" ? "" : `#${id}`}`;
  a.id = `result-${i}`;
  a.tabIndex = -1;
  a.setAttribute("role", "option");
  a.addEventListener("click", close);
  const strong = document.createElement("strong");
  marked(strong, heading, words);
  a.append(strong);
  if (heading !== title) {
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = `  ${title}`;
    a.append(where);
  }
  const snippet = document.createElement("span");
  snippet.className = "snippet";
  marked(snippet, snippetOf(text, words), words);
  a.append(snippet);
  return a;
}

let selected = 0;
function select(i) {
  const all = results.querySelectorAll("a");
  if (all.length === 0) return input.removeAttribute("aria-activedescendant");
  selected = (i + all.length) % all.length;
  all.forEach((a, k) => {
    a.setAttribute("aria-selected", String(k === selected));
  });
  all[selected].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", `result-${selected}`);
}
function close() {
  results.hidden = true;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

input.addEventListener("input", search);
input.addEventListener("focus", () => {
  loadIndex();
  if (input.value !== "") search();
});
input.addEventListener("keydown", (e) => {
  if (e.key === "ArrowDown") select(selected + 1);
  else if (e.key === "ArrowUp") select(selected - 1);
  else if (e.key === "Enter") results.querySelectorAll("a")[selected]?.click();
  else if (e.key === "Escape") close();
  else return;
  e.preventDefault();
});
document.addEventListener("keydown", (e) => {
  const typing = e.target instanceof HTMLInputElement || e.target instanceof HTMLTextAreaElement;
  if (e.key !== "/" || typing || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault();
  input.focus();
  input.select();
});
document.addEventListener("click", (e) => {
  if (!e.target.closest(".search")) close();
});
