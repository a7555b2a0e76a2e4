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

/** How often a word stands in a text: whole words count four times as much as beginnings, those inside of others little. */
function occurrences(text, word) {
  const letter = /[\p{L}\p{N}]/u;
  let n = 0;
  for (let i = text.indexOf(word); i >= 0; i = text.indexOf(word, i + 1)) {
    const [before, after] = [text[i - 1] ?? " ", text[i + word.length] ?? " "];
    n += letter.test(before) ? 0.1 : letter.test(after) ? 0.5 : 2;
  }
  return n;
}

/** The sections that hold all words, best first: rare words tell more than frequent ones, headings more than text. */
function ranked(words, { pages, sections }) {
  const counted = sections.map(([page, id, heading, text]) => {
    const [name, title] = pages[page];
    const [h, t] = [heading.toLowerCase(), text.toLowerCase()];
    const own = words.map((w) => [occurrences(h, w), occurrences(title.toLowerCase(), w), occurrences(t, w)]);
    return { name, title, id, heading, text, own };
  });
  const found = counted.filter(({ own }) => own.every((counts) => counts.some((n) => n > 0)));
  const weights = words.map((_, k) => Math.log(1 + sections.length / counted.filter(({ own }) => own[k].some((n) => n > 0)).length));
  const score = ({ own, heading }) =>
    own.reduce((sum, [h, p, t], k) => sum + weights[k] * (8 * Math.min(h, 2) + 3 * Math.min(p, 2) + Math.log1p(t)), 0) / (1 + heading.length / 200);
  const rarest = words[weights.indexOf(Math.max(...weights))];
  return { rarest, found: found.map((f) => ({ ...f, score: score(f) })).sort((a, b) => b.score - a.score) };
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

/** A piece of the text around a word. */
function snippetOf(text, word) {
  const begin = Math.max(0, text.toLowerCase().indexOf(word) - 60);
  const from = begin === 0 ? 0 : text.indexOf(" ", begin) + 1;
  return `${from > 0 ? "…" : ""}${text.slice(from, from + 160)}${from + 160 < text.length ? "…" : ""}`;
}

async function search() {
  const words = input.value
    .toLowerCase()
    .split(/\s+/)
    .filter((w) => w !== "");
  if (words.length === 0) return close();
  const { found, rarest } = ranked(words, await loadIndex());
  results.replaceChildren(...found.slice(0, 12).map((f, i) => resultOf(f, words, rarest, i)));
  if (found.length === 0) {
    const none = document.createElement("p");
    none.textContent = "Nothing was found.";
    results.append(none);
  }
  results.hidden = false;
  input.setAttribute("aria-expanded", "true");
  select(0);
}

function resultOf({ name, title, id, heading, text }, words, rarest, i) {
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
  marked(snippet, snippetOf(text, rarest), words);
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

// `page.html?q=words` opens with what was found: a search can be linked to.
const asked = new URLSearchParams(location.search).get("q");
if (asked !== null) {
  input.value = asked;
  search();
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
