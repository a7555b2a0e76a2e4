import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Links } from "../scripts/docs/links.mjs";
import { type Site, makeSite, writeSite } from "../scripts/docs/site.mjs";
import { browserMissing, inBrowser } from "./support/browser.ts";
import { root } from "./support/doc-blocks.ts";

/** The documentation's site: whole, without a broken link, and at work in a folder of a server. */

const folder = mkdtempSync(join(tmpdir(), "tilewright-site-"));
const at = pathToFileURL(root);
let site: Site;
beforeAll(async () => {
  site = await makeSite(at);
  writeSite(site, at, join(folder, "docs"));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const html = (): [string, string][] => [...site.files].filter(([name]) => name.endsWith(".html"));

describe("the site", () => {
  test("has all pages, and no link in their sources is broken", () => {
    expect(site.problems).toEqual([]);
    const names = site.pages.map((p) => p.name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of ["index", "getting-started", "cli", "api", "architecture", "ir", "schedules", "add-op", "add-pass", "add-target"])
      expect(names).toContain(name);
  });

  test("every address in what was written leads to a file of the site, and every fragment to a place in it", () => {
    const broken: string[] = [];
    let seen = 0;
    for (const [name, text] of html()) {
      for (const [, address = ""] of text.matchAll(/(?:href|src)="([^"]*)"/g)) {
        if (/^(https?|mailto):/.test(address)) continue;
        seen++;
        const [path = "", anchor] = address.split("#");
        const file = path === "" ? name : decodeURI(path);
        const target = site.files.get(file);
        const found = target === undefined ? existsSync(join(folder, "docs", file)) : anchor === undefined || target.includes(` id="${anchor}"`);
        if (!found || path.startsWith("/")) broken.push(`${name}: ${address}`);
      }
    }
    expect(broken).toEqual([]);
    expect(seen).toBeGreaterThan(1000);
  });

  test("every page has a title of its own, a language, a way past the navigation, ids that differ, and one heading of the first rank", () => {
    const titles = html().map(([, text]) => /<title>(.*?)<\/title>/.exec(text)?.[1]);
    expect(new Set(titles).size).toBe(titles.length);
    for (const [name, text] of html()) {
      const ids = [...text.matchAll(/ id="([^"]*)"/g)].map((m) => m[1]);
      expect(
        ids.filter((id, i) => ids.indexOf(id) !== i),
        name,
      ).toEqual([]);
      expect(text, name).toContain('<html lang="en">');
      expect(text, name).toContain('<a class="skip" href="#content">');
      expect([...text.matchAll(/<h1[ >]/g)], name).toHaveLength(1);
      expect([...text.matchAll(/aria-current="page"/g)], name).toHaveLength(1);
    }
  });

  test("nothing is loaded from elsewhere, and comments for tests are not shown", () => {
    for (const [name, text] of html()) {
      expect(text, name).not.toMatch(/<(script|link|img)[^>]*(src|href)="(https?:)?\/\//);
      expect(text, name).not.toMatch(/(<|&lt;)!-- (test:|Made by)/);
    }
  });
});

describe("links", () => {
  const pages = [
    { file: "README.md", name: "index" },
    { file: "docs/cli.md", name: "cli" },
    { file: "docs/ir.md", name: "ir" },
    { file: "bench/README.md", name: "benchmark" },
  ];
  const links = new Links(at, pages);
  for (const p of pages) links.page(p.name, ["top"]);
  const [readme, cli] = pages.map((p) => links.at(p));

  test("lead to pages, folders that have one, files and other sites", () => {
    expect(readme?.("docs/cli.md#top")).toBe("cli.html#top");
    expect(cli?.("ir.md")).toBe("ir.html");
    expect(cli?.("../README.md")).toBe("index.html");
    expect(cli?.("../bench/")).toBe("benchmark.html");
    expect(readme?.("LICENSE")).toBe("files/LICENSE");
    expect(cli?.("#top")).toBe("#top");
    expect(cli?.("https://example.org/x.md")).toBe("https://example.org/x.md");
    expect([...links.files]).toEqual(["LICENSE"]);
    expect(links.problems()).toEqual([]);
  });

  test("that lead nowhere are problems", () => {
    for (const href of ["no.md", "ir.md#none", "#none", "../../outside.md", "../src"]) cli?.(href);
    expect(links.problems()).toEqual([
      "docs/cli.md: the link to no.md leads nowhere",
      "docs/cli.md: the link to ../../outside.md leads nowhere",
      "docs/cli.md: the link to ../src leads to a folder without a page",
      "docs/cli.md: there is no #none on the page ir",
      "docs/cli.md: there is no #none on the page cli",
    ]);
  });
});

if (browserMissing !== null) console.log(`skipped: the site in a browser: ${browserMissing}`);
describe.skipIf(browserMissing !== null)("the site in a browser", () => {
  test("the search is reached by its key, finds a page, and leads to the place found", async () => {
    const script = `
      const frame = document.createElement("iframe"); frame.style.width = "1200px"; frame.style.height = "800px";
      frame.src = "/site/docs/index.html"; document.body.append(frame);
      const loaded = () => new Promise((f) => { frame.onload = f; });
      const until = async (what) => { for (let i = 0; i < 600 && !what(); i++) await new Promise((f) => setTimeout(f, 50)); };
      const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
      await loaded();
      let page = frame.contentDocument;
      const errors = []; frame.contentWindow.onerror = (m) => errors.push(m);
      key(page.body, "/");
      const input = page.getElementById("search");
      const focused = page.activeElement === input;
      input.value = "kept tensors";
      input.dispatchEvent(new Event("input"));
      await until(() => page.querySelector("#results a"));
      const first = page.querySelector("#results a[aria-selected=true]");
      const described = input.getAttribute("aria-activedescendant") === first.id;
      const next = loaded();
      key(input, "Enter");
      await next;
      page = frame.contentDocument;
      say(JSON.stringify({ focused, described, errors, title: page.title, heading: page.querySelector("h1").textContent }));`;
    const said = JSON.parse(await inBrowser(script, { site: folder })) as unknown;
    expect(said).toEqual({
      focused: true,
      described: true,
      errors: [],
      title: "Dynamic shapes and kept tensors · tilewright",
      heading: "Dynamic shapes and kept tensors",
    });
  }, 120_000);
});
