// Markdown to HTML: headings with anchors, code in colours, links rewritten for the site.
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import MarkdownIt from "markdown-it";
import { twLanguage } from "./tw-language.mjs";

const languages = { bash, c, css, diff, javascript, json, python, typescript, xml, tw: twLanguage };
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);
const highlighted = { js: "javascript", mjs: "javascript", ts: "typescript", html: "xml", h: "c", jsonc: "json" };

export const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** The HTML of a block of code; shell blocks have their commands told from what they print. */
export function highlight(text, language) {
  if (language === "sh") {
    return text
      .split("\n")
      .map((line) => (line.startsWith("$ ") ? `<span class="prompt">$ </span>${bashLine(line.slice(2))}` : line === "" ? "" : printed(line, text)))
      .join("\n");
  }
  const name = highlighted[language] ?? language;
  return hljs.getLanguage(name) === undefined ? escapeHtml(text) : hljs.highlight(text, { language: name }).value;
}
const bashLine = (line) => hljs.highlight(line, { language: "bash" }).value;
const printed = (line, text) => (/^\$ /m.test(text) ? `<span class="printed">${escapeHtml(line)}</span>` : bashLine(line));

/** The anchor of a heading, as GitHub makes it; `taken` counts those of the page. */
export function slug(text, taken) {
  const base = text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
  const n = taken.get(base) ?? 0;
  taken.set(base, n + 1);
  return n === 0 ? base : `${base}-${n}`;
}

/** Comments of a page are for its tests; a block that they name a file for is shown under that name. */
function withoutComments(source) {
  const named = source.replaceAll(/^((?:<!--.*-->\n)+)(```\w+)$/gm, (_, comments, fence) => {
    const file = /^<!-- test: (?:file|edit) (\S+) -->$/m.exec(comments);
    return file === null ? fence : `${fence} ${file[1]}`;
  });
  return named.replaceAll(/^<!--[\s\S]*?-->\n?/gm, "");
}

/**
 * Renders a page. `link(href)` gives the address on the site for one in the source.
 * Gives its HTML, its title, its headings, and its text by section for the search.
 */
export function render(source, link) {
  const md = new MarkdownIt({ html: false, linkify: false });
  const taken = new Map();
  const headings = [];
  const sections = [];
  const tokens = md.parse(withoutComments(source), {});
  tokens.forEach((token, i) => {
    if (token.type === "heading_open") {
      const text = plain(tokens[i + 1]);
      const id = slug(text, taken);
      token.attrSet("id", id);
      headings.push({ level: Number(token.tag.slice(1)), text, id });
      sections.push({ id, heading: text, text: [] });
    } else if (token.type === "inline") {
      for (const t of token.children) {
        if (t.type === "link_open") t.attrSet("href", link(t.attrGet("href")));
        if (t.type === "image") t.attrSet("src", link(t.attrGet("src")));
      }
      if (tokens[i - 1]?.type !== "heading_open") sections.at(-1)?.text.push(plain(token));
    } else if (token.type === "fence") sections.at(-1)?.text.push(token.content);
  });
  const { rules } = md.renderer;
  rules.fence = (list, i) => {
    const { info, content } = list[i];
    const language = info.trim().split(/\s+/)[0] || (/^(\$ |npm |npx )/.test(content) ? "sh" : "");
    const file = info.trim().split(/\s+/)[1];
    const pre = `<pre class="code" tabindex="0"${language === "" ? "" : ` data-language="${escapeHtml(language)}"`}><code>${highlight(content.trimEnd(), language)}</code></pre>`;
    return file === undefined ? `${pre}\n` : `<figure><figcaption>${escapeHtml(file)}</figcaption>${pre}</figure>\n`;
  };
  rules.table_open = () => '<div class="table" tabindex="0"><table>\n';
  rules.table_close = () => "</table></div>\n";
  rules.heading_close = (list, i) => {
    const id = list[i - 2].attrGet("id");
    return list[i].tag === "h1" ? "</h1>\n" : ` <a class="anchor" href="#${id}" aria-label="Link to this section">#</a></${list[i].tag}>\n`;
  };
  return { html: md.renderer.render(tokens, md.options, {}), title: headings[0]?.text ?? "", headings, sections };
}

/** The text of a comment in the sources, as HTML. */
export function renderComment(text) {
  return new MarkdownIt({ html: false }).render(text);
}

function plain(inline) {
  return inline.children.map((t) => (t.type === "softbreak" || t.type === "hardbreak" ? " " : t.content)).join("");
}
