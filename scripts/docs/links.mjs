// Links of the site: from paths in the repository to pages, and the check that none is broken.
import { existsSync, statSync } from "node:fs";
import path from "node:path/posix";

/**
 * Keeps what links of pages point at. `at(page)` rewrites the links of one page; `problems()` lists those that lead nowhere,
 * once all pages are known; `files` are the repository's files that the site needs a copy of.
 */
export class Links {
  files = new Set();
  #root;
  #pages;
  #anchors = new Map();
  #wanted = [];
  #problems = [];

  /** `pages`: a list of `{ file, name }`. */
  constructor(root, pages) {
    this.#root = root;
    this.#pages = new Map(pages.map((p) => [p.file, p.name]));
  }

  /** The anchors that a page has. */
  page(name, ids) {
    this.#anchors.set(name, new Set(ids));
  }

  at(page) {
    return (href) => this.#rewrite(page, href);
  }

  /** A link between pages that was made here, to be checked like those in the sources. */
  want(from, name, anchor) {
    this.#wanted.push({ from, name, anchor });
  }

  #rewrite(page, href) {
    if (/^[a-z]+:/i.test(href)) return href;
    const [target, anchor = ""] = href.split("#");
    if (target === "") {
      this.want(page.file, page.name, anchor);
      return href;
    }
    const file = path.normalize(path.join(path.dirname(page.file), decodeURI(target))).replace(/\/$/, "");
    const name = this.#pages.get(file) ?? this.#pages.get(`${file}/README.md`);
    if (name !== undefined) {
      if (anchor !== "") this.want(page.file, name, anchor);
      return `${name}.html${anchor === "" ? "" : `#${anchor}`}`;
    }
    const url = new URL(file, this.#root);
    if (file.startsWith("..") || !existsSync(url)) this.#problems.push(`${page.file}: the link to ${href} leads nowhere`);
    else if (!statSync(url).isFile()) this.#problems.push(`${page.file}: the link to ${href} leads to a folder without a page`);
    else this.files.add(file);
    return `files/${file}`;
  }

  problems() {
    const broken = this.#wanted
      .filter(({ name, anchor }) => !(this.#anchors.get(name)?.has(anchor) ?? false))
      .map(({ from, name, anchor }) => `${from}: there is no #${anchor} on the page ${name}`);
    return [...this.#problems, ...broken];
  }
}
