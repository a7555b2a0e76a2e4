// The site: every page rendered, the API, the search's index, styles; written to site/ unless it is only checked.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { apiPages } from "./api.mjs";
import { contents } from "./contents.mjs";
import { Links } from "./links.mjs";
import { render } from "./markdown.mjs";
import { pageHtml } from "./template.mjs";

/** Makes the site in memory: `{ files, copies, problems, pages, indexBytes }`. */
export async function makeSite(root) {
  const listed = contents(root);
  const links = new Links(root, listed.pages);
  const written = listed.pages.map((p) => ({ ...p, ...render(readFileSync(new URL(p.file, root), "utf8"), links.at(p)) }));
  const api = (await apiPages(root)).map((p) => ({ ...p, group: "Reference" }));
  const pages = arrange([...written, ...api]);
  for (const p of pages) links.page(p.name, [...p.headings.map((h) => h.id), ...(p.ids ?? [])]);
  for (const p of api) for (const [name, anchor] of p.links) links.want(p.name, name, anchor);
  const nav = [...new Set(pages.map((p) => p.group))].map((group) => ({
    group,
    pages: pages.filter((p) => p.group === group).map((p) => ({ name: p.name, title: navTitle(p) })),
  }));
  const flat = nav.flatMap((g) => g.pages);
  const files = new Map(pages.map((p, i) => [`${p.name}.html`, pageHtml({ ...p, body: p.html, nav, previous: flat[i - 1], next: flat[i + 1] })]));
  files.set("search-index.js", searchIndex(pages));
  for (const f of ["style.css", "page.js"]) files.set(f, readFileSync(new URL(f, import.meta.url), "utf8"));
  return { files, copies: links.files, problems: [...listed.problems, ...links.problems()], pages };
}

/** The pages of the API follow the command line's. */
function arrange(pages) {
  const groups = [...new Set(pages.map((p) => p.group))];
  return groups.flatMap((g) => pages.filter((p) => p.group === g));
}

/** In the sidebar. */
function navTitle(p) {
  return p.name === "index" ? "Overview" : p.name === "digits" ? "The example model" : p.title;
}

/** A script that sets one variable: pages opened from files cannot fetch data. */
function searchIndex(pages) {
  const sections = pages.flatMap((p, i) =>
    p.sections.map((s, k) => [i, k === 0 ? "" : s.id, s.heading, s.text.join(" ").replaceAll(/\s+/g, " ").slice(0, 4000)]),
  );
  return `globalThis.tilewrightIndex = ${JSON.stringify({ pages: pages.map((p) => [p.name, navTitle(p)]), sections })};\n`;
}

/** Writes the site into a folder, which is emptied first. */
export function writeSite(site, root, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of site.files) writeFileSync(path.join(folder, name), text);
  for (const file of site.copies) cpSync(fileURLToPath(new URL(file, root)), path.join(folder, "files", file));
}
