import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cliProgram } from "../src/cli/main.ts";
import { browserMissing, inBrowser, isolation } from "./support/browser.ts";
import { compilerMissing, withCompiler } from "./support/c.ts";
import { buildForTests } from "./support/cli.ts";
import { type Block, type Directives, blocksOf, firstMismatch, pages, placeOf, shellCommands } from "./support/doc-blocks.ts";
import { PageFolder, readIr, readJson, typeErrors, withoutTypes } from "./support/doc-run.ts";

/** Every block of code in the README and in docs/ does what the page says. */

/** What the README's blocks, which carry no comments, would say; by their first lines. */
const readme: Readonly<Record<string, Directives>> = {
  "npm run quickstart     # installs, builds, compiles the example model, classifies 20 pictures of digits": {
    skip: "it installs, and runs this test (test/quickstart.test.ts runs the quick start)",
  },
  "== Compiling examples/digits/digits.onnx": { skip: "it is the quick start's output (test/quickstart.test.ts reads that)" },
  "npm install tilewright": { skip: "it installs (test/package.test.ts installs the package)" },
  "$ npx tilewright bench examples/digits/digits.onnx --per-kernel": { numbers: "" },
  'import { load } from "./out/model.js";': {
    file: "use-artifact.mjs",
    after: "npx tilewright compile examples/digits/digits.onnx -o out",
  },
};

// The guides to adding things are done, all together, by test/docs-adding.test.ts, and the one to Vite by test/docs-vite.test.ts.
const done = (page: string): boolean => page.startsWith("docs/add-") || page === "docs/vite.md";
const blocks = new Map(
  pages()
    .filter((page) => !done(page))
    .map((page) => [page, blocksOf(page, page === "README.md" ? readme : {})]),
);
const all = [...blocks.values()].flat();
const languageOf = (b: Block): string => (b.language === "" && /^(\$ |npm |npx )/.test(b.text) ? "sh" : b.language);

let dist = "";
beforeAll(() => {
  dist = buildForTests();
});
const folders: PageFolder[] = [];
afterAll(() => {
  for (const f of folders) f.remove();
});
/** Blocks of TypeScript, as files in their pages' folders. */
const typed: string[] = [];

/** Reads the commands of a page as the command line would, and runs none. */
async function parseCommands(b: Block): Promise<void> {
  for (const { command } of shellCommands(b.text)) {
    const [, ...args] = command.replace(/^npx /, "").split(" ");
    const program = cliProgram();
    let ran = "";
    for (const c of program.commands) {
      c.exitOverride().action(() => {
        ran = c.name();
      });
    }
    await program.parseAsync(args, { from: "user" });
    expect(ran, command).toBe(args[0]);
  }
}

/** Opens a page in a frame, as it would be served, and waits until it shows the text. */
async function showsInBrowser(folder: PageFolder, file: string, text: string): Promise<void> {
  const script = `const frame = document.createElement("iframe"); frame.src = "/page/${file}"; document.body.append(frame);
    const end = Date.now() + 30000;
    const shown = () => frame.contentDocument?.body?.innerText ?? "";
    while (!shown().includes(${JSON.stringify(text)}) && Date.now() < end) await new Promise((f) => setTimeout(f, 50));
    say(shown());`;
  expect(await inBrowser(script, { page: folder.path }, isolation)).toContain(text);
}

async function runBlock(b: Block, folder: PageFolder): Promise<void> {
  const { directives: d } = b;
  if (d.skip !== undefined) {
    if (d.file !== undefined) folder.file(d.file, b.text);
    return;
  }
  const lacking = b.text.includes("--target native") ? compilerMissing("gcc") : null;
  if (lacking !== null && d.parse === undefined) {
    console.log(`not run: ${placeOf(b)}: ${lacking}`);
    return;
  }
  if (d.after !== undefined) await folder.shell({ ...b, text: d.after, directives: {} });
  switch (languageOf(b)) {
    case "sh":
      return d.parse === undefined ? folder.shell(b) : parseCommands(b);
    case "js":
      return folder.module(b);
    case "ts":
      typed.push(folder.file(d.file ?? `block-${b.line}.ts`, `${b.text}\nexport {};`));
      return d.types === undefined ? folder.module({ ...b, directives: {} }, withoutTypes(b.text)) : undefined;
    case "python":
      return folder.python(b);
    case "json":
      if (d.file !== undefined) folder.file(d.file, b.text);
      return readJson(`${d.fragment?.split(" ")[0] ?? ""}${b.text}${d.fragment?.split(" ")[1] ?? ""}`);
    case "tw":
      if (d.file !== undefined) folder.file(d.file, b.text);
      return readIr(b.text, placeOf(b));
    case "html":
      folder.file(d.file ?? "", b.text);
      if (d.shows === undefined) throw new Error(`${placeOf(b)}: a page needs the directive 'shows'`);
      if (browserMissing === null) return showsInBrowser(folder, d.file ?? "", d.shows);
      console.log(`not run: ${placeOf(b)}: ${browserMissing}`);
      return;
    case "c":
      if (d.file === undefined) throw new Error(`${placeOf(b)}: a C program needs the directive 'file', and commands after it that build it`);
      folder.file(d.file, b.text);
      return;
    case "text":
      return d.prints === undefined ? undefined : folder.prints(b);
    default:
      throw new Error(`${placeOf(b)}: a block in '${b.language}' is not tested; use sh, js, ts, python, c, tw, json, html or text, or say why not`);
  }
}

const needsCompiler = new Set(["docs/c.md"]);
describe("every block", () => {
  for (const [page, list] of blocks) {
    const run = (): void => {
      test.concurrent(page, async () => {
        const folder = new PageFolder(dist).install(dist);
        folders.push(folder);
        for (const b of list) {
          try {
            await runBlock(b, folder);
          } catch (e) {
            if (e instanceof Error) e.message = `${placeOf(b)}: ${e.message}`;
            throw e;
          }
        }
      }, 240_000);
    };
    if (needsCompiler.has(page)) withCompiler("gcc", run);
    else if (list.length > 0) run();
  }
});

test("TypeScript finds the types of every block in it", () => {
  expect(typed).toHaveLength(all.filter((b) => b.language === "ts" && b.directives.skip === undefined).length);
  expect(typeErrors(typed)).toEqual([]);
}, 120_000);

describe("the comparison of outputs", () => {
  test("counts of few are exact, sizes nearly, times free; a line of dots stands for any lines", () => {
    expect(firstMismatch("15 kernels; 13.6 kB; 0.6 s", "15 kernels; 13.9 kB; 12.1 s", false)).toBe(null);
    expect(firstMismatch("15 kernels", "16 kernels", false)).toMatch(/^shown: 15 kernels/);
    expect(firstMismatch("takes 10.4% longer", "takes -2.6% longer", false)).toBe(null);
    expect(firstMismatch("max 10.4", "max -10.4", false)).toMatch(/^shown/);
    expect(firstMismatch("13.6 kB", "18 kB", false)).toMatch(/^shown/);
    expect(firstMismatch("15 kernels", "99 kernels", true)).toBe(null);
    expect(firstMismatch("a\n…\nd", "a\nb\nc\nd", false)).toBe(null);
    expect(firstMismatch("a\n…", "a\nb", false)).toBe(null);
    expect(firstMismatch("peak is 12.5 kB …", "peak is 12.6 kB or more", false)).toBe(null);
    expect(firstMismatch("a\n…\nx", "a\nb\nc", false)).toMatch(/the end/);
    expect(firstMismatch("a", "a\nb", false)).toBe("not shown: b");
    expect(firstMismatch("f32[1, 10]", "f32[1, 11]", false)).toMatch(/^shown/);
  });
});

const skipped = all.filter((b) => b.directives.skip !== undefined);
const illustrations = all.filter((b) => b.language === "text" && b.directives.prints === undefined);
console.log(
  [
    `documentation: ${all.length} blocks on ${blocks.size} pages, ${skipped.length} not run, ${illustrations.length} of plain text`,
    ...skipped.map((b) => `  not run: ${placeOf(b)}: ${b.directives.skip}`),
  ].join("\n"),
);

test("few blocks are not run, and each of them for a reason", () => {
  expect(skipped.filter((b) => (b.directives.skip ?? "").length < 10).map(placeOf)).toEqual([]);
  expect(skipped.length).toBeLessThanOrEqual(12);
});
