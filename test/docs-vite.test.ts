import { execFile } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Block, blocksOf, firstMismatch, placeOf, root, shellCommands } from "./support/doc-blocks.ts";
import { ViteProject, pluginFile } from "./support/vite-project.ts";

/** The page about Vite, done: its files are those of a project, its commands are run there, and TypeScript finds all types. */

const page = "docs/vite.md";
const blocks = blocksOf(page);
const project = new ViteProject({});
afterAll(() => project.remove());

const bin: Readonly<Record<string, string>> = { vite: "vite/bin/vite.js", vitest: "vitest/vitest.mjs", tsc: "typescript/bin/tsc" };
/** Runs a command of the page, `npx NAME …`; fails with what it printed. */
async function npx(command: string): Promise<string> {
  const [, name = "", ...args] = command.split(" ");
  const file = join(
    root,
    "node_modules",
    bin[name] ?? expect.unreachable(`${page}: ${command}: expected npx and one of ${Object.keys(bin).join(", ")}`),
  );
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, ...args], { cwd: project.path, encoding: "utf8" }).catch(
    (e: { stdout: string; stderr: string }) => expect.unreachable(`$ ${command}\n${e.stdout}${e.stderr}`),
  );
  return `${stdout}${stderr}`;
}

beforeAll(() => {
  // The package, as if it were installed.
  const installed = join(project.path, "node_modules/tilewright");
  mkdirSync(installed);
  symlinkSync(join(root, "package.json"), join(installed, "package.json"));
  symlinkSync(dirname(dirname(dirname(pluginFile))), join(installed, "dist"), "junction");
  project.copy(join(root, "examples/digits/digits.onnx"), "src/digits.onnx");
  project.write("index.html", '<!doctype html><script type="module" src="/src/main.ts"></script>');
  for (const b of blocks) if (b.directives.file !== undefined) project.write(b.directives.file, `${b.text}\n`);
});

describe(page, () => {
  const shell = (b: Block) => async () => {
    for (const { command, output } of shellCommands(b.text)) {
      const got = await npx(command);
      if (output !== null) expect(firstMismatch(output, got, false), `$ ${command}\n${got}`).toBe(null);
    }
  };
  for (const b of blocks) if (b.language === "sh" && b.directives.skip === undefined) test(placeOf(b), shell(b));

  test("every block is a file, or commands", () => {
    expect(blocks.filter((b) => b.directives.file === undefined && b.language !== "sh").map(placeOf)).toEqual([]);
  });

  test("all modules of the page build, and their types are found, with the settings of Vite's templates", async () => {
    const modules = blocks.flatMap((b) => (b.directives.file?.match(/^src\/(?!.*\.test\.).*\.ts$/) ? [b.directives.file] : []));
    expect(modules.length).toBeGreaterThan(4);
    project.write("index.html", modules.map((m) => `<script type="module" src="/${m}"></script>`).join("\n"));
    await npx("npx vite build --config vite.options.config.js");
    const compilerOptions = {
      target: "es2023",
      lib: ["es2023", "dom"],
      module: "esnext",
      moduleResolution: "bundler",
      types: ["vite/client"],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    };
    writeFileSync(join(project.path, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["src"] }));
    expect(await npx("npx tsc")).toBe("");
  });
});
