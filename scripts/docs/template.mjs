// The frame of every page.
import { escapeHtml } from "./markdown.mjs";

/**
 * The whole HTML of a page. `nav`: groups of `{ name, title }`; `headings` for the table of contents; `body` is HTML.
 * Addresses are relative, so the site works in any folder and from files.
 */
export function pageHtml({ name, title, body, headings, nav, previous, next }) {
  const toc = headings.filter((h) => h.level === 2 || h.level === 3);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(name === "index" ? "tilewright" : `${title} · tilewright`)}</title>
<link rel="stylesheet" href="style.css">
<script src="page.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
<a class="brand" href="index.html">${logo}<span>tilewright</span></a>
<div class="search" role="search">
<input id="search" type="search" placeholder="Search" aria-label="Search the documentation" autocomplete="off" role="combobox" aria-expanded="false" aria-controls="results">
<kbd aria-hidden="true">/</kbd>
<div id="results" class="results" role="listbox" aria-label="Results" hidden></div>
</div>
<button class="menu" type="button" aria-expanded="false" aria-controls="sidebar">Pages</button>
</header>
<div class="columns">
<nav id="sidebar" class="sidebar" aria-label="Pages">
${nav.map((g) => navGroup(g, name)).join("\n")}
</nav>
<main id="content" tabindex="-1">
<article>
${body}
</article>
<footer class="pager">${pager(previous, "previous")}${pager(next, "next")}</footer>
</main>
${toc.length < 2 ? "<div></div>" : tocHtml(toc)}
</div>
</body>
</html>
`;
}

const logo =
  '<svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true"><rect x="1" y="1" width="6" height="6" rx="1.2"/><rect x="9" y="1" width="6" height="6" rx="1.2" opacity=".55"/><rect x="1" y="9" width="6" height="6" rx="1.2" opacity=".55"/><rect x="9" y="9" width="6" height="6" rx="1.2" opacity=".25"/></svg>';

function navGroup(group, current) {
  const item = (p) => `<li><a href="${p.name}.html"${p.name === current ? ' aria-current="page"' : ""}>${escapeHtml(p.title)}</a></li>`;
  return `<h2>${escapeHtml(group.group)}</h2>\n<ul>\n${group.pages.map(item).join("\n")}\n</ul>`;
}

function pager(page, way) {
  if (page === undefined) return "<span></span>";
  const arrow = way === "next" ? `${escapeHtml(page.title)} →` : `← ${escapeHtml(page.title)}`;
  return `<a rel="${way === "next" ? "next" : "prev"}" href="${page.name}.html">${arrow}</a>`;
}

function tocHtml(toc) {
  // Pages with hundreds of entries (ops) show their main headings only.
  const shown = toc.length > 40 ? toc.filter((h) => h.level === 2) : toc;
  const item = (h) => `<li class="level-${h.level}"><a href="#${h.id}">${escapeHtml(h.text)}</a></li>`;
  return `<nav class="toc" aria-label="On this page">\n<h2>On this page</h2>\n<ul>\n${shown.map(item).join("\n")}\n</ul>\n</nav>`;
}
