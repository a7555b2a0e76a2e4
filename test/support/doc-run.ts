import { execFile, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import ts from "typescript";
import { expect } from "vitest";
import { sourceText } from "../../src/explorer/source.ts";
import { formatOf, importSource } from "../../src/importer.ts";
import { parseDatabase } from "../../src/schedule/database.ts";
import { parseSchedule } from "../../src/schedule/schedule.ts";
import { type Block, firstMismatch, placeOf, root, shellCommands } from "./doc-blocks.ts";

/** Runs blocks of the documentation as a reader would: in a folder with the package installed and the examples beside. */

/** The folder of one page; what a block leaves there the next one finds. */
export class PageFolder {
  readonly path: string;
  /** What the last block that ran printed. */
  private printed = "";

  /** `dist`: the built package; `path`: a folder that is there already, such as a copy of the sources. */
  constructor(dist: string, path = mkdtempSync(join(tmpdir(), "tilewright-docs-"))) {
    this.path = path;
    mkdirSync(join(path, "bin"), { recursive: true });
    symlinkSync(join(root, "examples"), join(path, "examples"));
    const npx = `#!/bin/sh\n[ "$1" = tilewright ] || { echo "there is only tilewright here" >&2; exit 127; }\nshift\nexec "${process.execPath}" "${dist}/cli.js" "$@"\n`;
    writeFileSync(join(path, "bin/npx"), npx, { mode: 0o755 });
  }

  /** Puts the package where programs in the folder find it, and Vite, which readers of pages about it have. */
  install(dist: string): this {
    const installed = join(this.path, "node_modules/tilewright");
    mkdirSync(installed, { recursive: true });
    copyFileSync(join(root, "package.json"), join(installed, "package.json"));
    symlinkSync(dist, join(installed, "dist"));
    symlinkSync(join(root, "node_modules/vite"), join(this.path, "node_modules/vite"));
    return this;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  file(name: string, text: string): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text.endsWith("\n") ? text : `${text}\n`);
    return path;
  }

  /** Runs a program; gives its exit status and what it printed to both streams. */
  private start(command: string, args: readonly string[], cwd = "."): Promise<{ status: number; text: string }> {
    const env = {
      ...process.env,
      PATH: `${join(this.path, "bin")}:${process.env.PATH ?? ""}`,
      XDG_CACHE_HOME: join(this.path, "cache"),
      TILEWRIGHT_VERIFY: "",
    };
    return new Promise((done) => {
      const child = execFile(command, args, { cwd: join(this.path, cwd), env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        done({ status, text: `${stdout}${stderr}` });
      });
      child.stdin?.end();
    });
  }

  /** A shell block: every command must end well (the last one with the status that was asked for) and print what is shown. */
  async shell(b: Block): Promise<void> {
    const commands = shellCommands(b.text);
    for (const [i, { command, output }] of commands.entries()) {
      const r = await this.start("bash", ["-o", "pipefail", "-c", `${command} 2>&1`], b.directives.in);
      const status = i === commands.length - 1 ? Number(b.directives.status ?? 0) : 0;
      expect(r.status, `$ ${command}\n${r.text}`).toBe(status);
      if (output !== null) expect(firstMismatch(output, r.text, b.directives.numbers !== undefined), `$ ${command}\n${r.text}`).toBe(null);
      this.printed = r.text;
    }
  }

  /** A module: it must run to its end. */
  async module(b: Block, text = b.text): Promise<void> {
    const name = b.directives.file ?? `block-${b.line}.mjs`;
    this.file(name, text);
    const r = await this.start(process.execPath, [name], b.directives.in);
    expect(r.status, r.text).toBe(Number(b.directives.status ?? 0));
    this.printed = r.text;
  }

  /** A block that shows what the one before it printed. */
  prints(b: Block): void {
    expect(firstMismatch(b.text, this.printed, b.directives.numbers !== undefined), this.printed).toBe(null);
  }

  /** A Python program, where there is a Python. */
  async python(b: Block): Promise<void> {
    if (spawnSync("python3", ["--version"]).status !== 0) {
      console.log(`not run: ${placeOf(b)}: there is no python3`);
      return;
    }
    const name = b.directives.file ?? `block-${b.line}.py`;
    this.file(name, b.text);
    const folder = dirname(name);
    const r = await this.start("python3", [name.slice(folder === "." ? 0 : folder.length + 1)], folder);
    expect(r.status, r.text).toBe(0);
    this.printed = r.text;
  }
}

/** IR text: it parses, the verifier finds nothing, and it prints to a text that reads back to the same. */
export function readIr(text: string, name: string): void {
  const bytes = (t: string): Uint8Array => new TextEncoder().encode(t);
  expect(formatOf(bytes(text)), "expected a graph, a tensor function or a program").not.toBe("onnx");
  const printed = sourceText(importSource(bytes(text), { name }));
  expect(sourceText(importSource(bytes(printed), { name }))).toBe(printed);
}

/** JSON; a schedule must be one, and a database of schedules. */
export function readJson(text: string): void {
  const value = JSON.parse(text) as object;
  if ("algorithm" in value && "stages" in value) parseSchedule(text);
  if ("format" in value) parseDatabase(text);
}

/** Compiler options of a reader's project: strict, modules as Node resolves them, a page's and Node's globals. */
const projectOptions: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  types: ["node"],
  typeRoots: [join(root, "node_modules/@types")],
};

/** What TypeScript says against the files, one line each. */
export function typeErrors(files: readonly string[]): string[] {
  return errorsOf(ts.createProgram({ rootNames: files, options: projectOptions }));
}

function errorsOf(program: ts.Program): string[] {
  return ts.getPreEmitDiagnostics(program).map((d) => {
    const at = d.file === undefined || d.start === undefined ? "" : `${d.file.fileName}:${d.file.getLineAndCharacterOfPosition(d.start).line + 1}: `;
    return `${at}${ts.flattenDiagnosticMessageText(d.messageText, "\n")}`;
  });
}

/** What TypeScript says against files of a copy of this project, under the project's own options. */
export function sourceErrors(copy: string, files: readonly string[]): string[] {
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(copy, "tsconfig.json"), ts.sys.readFile).config, ts.sys, copy);
  return errorsOf(ts.createProgram({ rootNames: files, options }));
}

/** TypeScript without its types. */
export function withoutTypes(text: string): string {
  return ts.transpileModule(text, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } }).outputText;
}
