import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Block, blocksOf, placeOf, root } from "./support/doc-blocks.ts";
import { PageFolder, sourceErrors } from "./support/doc-run.ts";

/**
 * The guides to adding an op, a pass and a target, done as they say: their files and changes are applied to a copy of the
 * sources, all three together; the copy has no type errors, is built, and the guides' commands print what they show.
 */

const guides = ["docs/add-op.md", "docs/add-pass.md", "docs/add-target.md"].map((page) => ({ page, blocks: blocksOf(page) }));

/** Changes a file as a block of context, removed and added lines says. The lines before must be there once. */
function change(file: string, b: Block): void {
  const lines = b.text.split("\n");
  const side = (sign: string): string =>
    lines
      .filter((l) => l.startsWith(" ") || l.startsWith(sign))
      .map((l) => `${l.slice(1)}\n`)
      .join("");
  const text = readFileSync(file, "utf8");
  expect(text.split(side("-")).length, `${placeOf(b)}: its lines stand in the file once`).toBe(2);
  writeFileSync(
    file,
    text.replace(side("-"), () => side("+")),
  );
}

let folder: PageFolder;
beforeAll(() => {
  const tree = mkdtempSync(join(tmpdir(), "tilewright-adding-"));
  for (const name of ["src", "package.json", "tsconfig.json", "filetests"]) cpSync(join(root, name), join(tree, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  folder = new PageFolder(join(tree, "dist"), tree);
}, 120_000);
afterAll(() => rmSync(folder.path, { recursive: true, force: true }));

describe("adding an op, a pass and a target", () => {
  const sources: string[] = [];
  test("the changes apply", () => {
    for (const b of guides.flatMap((g) => g.blocks)) {
      if (b.directives.file !== undefined) {
        const path = folder.file(b.directives.file, b.text);
        if (path.endsWith(".ts")) sources.push(path);
      }
      if (b.directives.edit !== undefined) change(join(folder.path, b.directives.edit), b);
    }
    expect(sources.length).toBeGreaterThanOrEqual(6);
  });

  test("what was added has the types that it must have, and the layout of the project's files", () => {
    expect(sourceErrors(folder.path, sources)).toEqual([]);
    const biome = join(root, "node_modules/@biomejs/biome/bin/biome");
    for (const what of [["lint", "--error-on-warnings"], ["format"]])
      execFileSync(process.execPath, [biome, ...what, "--config-path", root, ...sources], { cwd: folder.path, encoding: "utf8" });
  }, 240_000);

  test("the copy builds", () => {
    const entries = ["cli.ts", "importer.ts", "load.ts", "build-js.ts", "runtime/artifact.ts"];
    const src = join(folder.path, "src");
    buildSync({
      entryPoints: entries.map((e) => join(src, e)),
      outdir: join(folder.path, "dist"),
      outbase: src,
      bundle: true,
      splitting: true,
      platform: "node",
      format: "esm",
      packages: "external",
      logLevel: "error",
    });
    execFileSync(process.execPath, [join(root, "scripts/bundle-runtime.mjs"), join(folder.path, "dist")]);
  });

  test.each(guides)(
    "the commands of $page",
    async ({ blocks }) => {
      for (const b of blocks.filter((x) => x.language === "sh" && x.directives.skip === undefined)) await folder.shell(b);
    },
    60_000,
  );
});
