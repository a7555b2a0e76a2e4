import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parseAst } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The package as it is published: packed, installed into an empty project, and used from there.

const root = fileURLToPath(new URL("..", import.meta.url));
interface Exports {
  readonly [condition: string]: string | Exports;
}
interface PackageJson {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Exports;
  readonly sideEffects: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as PackageJson;
const pathsOf = (e: string | Exports): string[] => (typeof e === "string" ? [e] : Object.values(e).flatMap(pathsOf));
const subpaths = Object.keys(manifest.exports).filter((p) => p !== "./package.json");
const specifiers = subpaths.map((p) => p.replace(".", "tilewright"));

// `npm test` builds first; run alone, without a build, there is nothing to pack.
const built = pathsOf(manifest.exports).every((p) => existsSync(join(root, p)));
if (!built) console.log("skipped: the package as it is published (dist/ is not built; `npm run build` does that)");

const folder = mkdtempSync(join(tmpdir(), "tilewright-package-"));
const project = join(folder, "project");
const installed = join(project, "node_modules/tilewright");
const shell = process.platform === "win32";
/** Runs a program in the project; gives what it printed, with its error if it failed. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, TILEWRIGHT_VERIFY: "" };
  try {
    return (await promisify(execFile)(program, args, { cwd: project, encoding: "utf8", shell, env })).stdout;
  } catch (e) {
    const { stdout, stderr, message } = e as { stdout?: string; stderr?: string; message: string };
    return `${message}\n${stdout ?? ""}${stderr ?? ""}`;
  }
}

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}
let packed: Packed = { filename: "", size: 0, unpackedSize: 0, files: [] };

/** npm installs the package; without a network, and without its dependencies in npm's cache, they are taken from here. */
function install(tarball: string): void {
  const args = ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", tarball];
  try {
    execFileSync("npm", args, { cwd: project, shell, stdio: "pipe", timeout: 60_000 });
  } catch (e) {
    const why = String((e as { stderr?: Buffer }).stderr ?? e);
    if (!/ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|E40\d|network/.test(why)) throw new Error(why);
    console.log("npm reached no registry: the package is unpacked and its dependencies are those of this checkout");
    mkdirSync(installed, { recursive: true });
    execFileSync("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
    for (const d of Object.keys(manifest.dependencies)) cpSync(join(root, "node_modules", d), join(project, "node_modules", d), { recursive: true });
    mkdirSync(join(project, "node_modules/.bin"));
    chmodSync(join(installed, "dist/cli.js"), 0o755);
    symlinkSync("../tilewright/dist/cli.js", join(project, "node_modules/.bin/tilewright"));
  }
}

describe.skipIf(!built)("the package as it is published", () => {
  beforeAll(() => {
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
    cpSync(join(root, "examples/digits/digits.onnx"), join(project, "digits.onnx"));
    const listing = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root, encoding: "utf8", shell, stdio: "pipe" });
    // npm prints a list of packages, or (from version 11 on) may print them by name.
    const [only] = Object.values(JSON.parse(listing) as Record<string, Packed>);
    if (only === undefined) throw new Error(`npm pack made nothing: ${listing}`);
    packed = only;
    install(join(folder, packed.filename));
    for (const name of ["typescript", "vite"]) symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name), "junction");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("it holds what its entry points name, and neither tests nor benchmarks nor what was built from files that are gone", () => {
    const paths = packed.files.map((f) => f.path);
    const kB = (n: number) => `${(n / 1000).toFixed(0)} kB`;
    console.log(`the package: ${kB(packed.size)}, unpacked ${kB(packed.unpackedSize)} in ${paths.length} files`);
    const entries = [...Object.values(manifest.bin), ...pathsOf(manifest.exports)].map((p) => p.replace(/^\.\//, ""));
    for (const p of [...entries, "package.json", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "NOTICE"]) expect(paths).toContain(p);
    expect(paths.filter((p) => !/^dist\/|^package\.json$|^(README|ARCHITECTURE|CHANGELOG)\.md$|^LICENSE$|^NOTICE$/.test(p))).toEqual([]);
    expect(paths.filter((p) => /\.test\.|tsbuildinfo|\.map$|(?<!\.d)\.ts$/.test(p))).toEqual([]);
    // Bundles have no source of their own.
    const sources = paths.filter((p) => p.startsWith("dist/") && !p.startsWith("dist/browser/") && p !== "dist/runtime/model.bundle.js");
    const gone = sources.filter((p) => !existsSync(join(root, p.replace(/^dist/, "src").replace(/(\.d\.ts|\.js)$/, ".ts"))));
    expect(gone).toEqual([]);
  });

  test("nothing in it needs what only developing it does", () => {
    const known = new Set([...Object.keys(manifest.dependencies), "koffi"]);
    const foreign = new Set<string>();
    for (const file of readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".js"))) {
      const text = readFileSync(join(installed, "dist", file), "utf8");
      for (const [, from = ""] of text.matchAll(/^(?:import\s+|(?:import|export)\b[^"'\n]*\sfrom\s+)["']([^"'\n]+)["'];$/gm))
        if (!from.startsWith(".") && !from.startsWith("node:") && !known.has(from)) foreign.add(`${file}: ${from}`);
    }
    expect([...foreign]).toEqual([]);
  });

  test("every module that does something when it is imported is listed in sideEffects", () => {
    const scripts = manifest.sideEffects.map((p) => p.replace(/^\.\/dist\//, ""));
    const modules = readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" }).map((f) => f.replaceAll("\\", "/"));
    const doing = modules.filter((f) => {
      if (!f.endsWith(".js") || f.startsWith("browser/") || f === "runtime/model.bundle.js") return false;
      const text = readFileSync(join(installed, "dist", f), "utf8");
      const { body } = parseAst(text);
      // What a module does to what it exports itself belongs to that.
      const does = body.filter((x) => !/^(Import|Export|Variable|Function|Class)|^EmptyStatement$/.test(x.type));
      return !body.some((x) => x.type.startsWith("Export")) || does.some((x) => !text.startsWith("Object.defineProperty(", x.start));
    });
    expect(doing.sort()).toEqual(scripts.filter((f) => !f.startsWith("browser/")).sort());
  });

  test("npx tilewright compiles a model, and the artifact runs", async () => {
    expect((await run("npx", ["--no-install", "tilewright", "--version"])).trim()).toBe(manifest.version);
    expect(await run("npx", ["--no-install", "tilewright", "compile", "digits.onnx", "-o", "out"])).toMatch(/^out: model\.wasm .* kB/);
    const use = `import { load } from "./out/model.js";
import { compile } from "tilewright";
const input = { image: new Float32Array(64).fill(0.5) };
const [a, b] = [await (await load()).run(input), await (await compile("digits.onnx")).run(input)];
console.log(a.logits.data.join() === b.logits.data.join(), a.logits.data[0].toFixed(3));
`;
    writeFileSync(join(project, "use.mjs"), use);
    expect(await run(process.execPath, ["use.mjs"])).toBe("true 0.333\n");
  });

  test("every subpath can be imported", async () => {
    const loads = specifiers.map((s) => `Object.keys(await import(${JSON.stringify(s)})).length`);
    writeFileSync(join(project, "all.mjs"), `console.log([${loads.join(", ")}].every((n) => n > 0));\n`);
    expect(await run(process.execPath, ["all.mjs"])).toBe("true\n");
  });

  test.each([
    ["bundler", { module: "esnext", moduleResolution: "bundler" }],
    ["nodenext", { module: "nodenext" }],
  ])("its types need nothing else, with moduleResolution %s", async (name, options) => {
    const imports = specifiers.map((s, i) => `import * as m${i} from ${JSON.stringify(s)};`);
    const use = `${imports.join("\n")}
export const all = [${specifiers.map((_, i) => `m${i}`).join(", ")}];
import { type Model, compile } from "tilewright";
const model: Model = await compile(new Uint8Array(1), { threads: 2 });
// @ts-expect-error Types are found, and are no any.
export const text: string = model.inputs;
`;
    writeFileSync(join(project, "use.ts"), use);
    const lib = ["es2023", "dom"];
    // Declarations of the package itself are checked too, without those of Node or of Vite.
    const compilerOptions = { target: "es2022", lib, strict: true, noEmit: true, types: [], skipLibCheck: false, ...options };
    writeFileSync(join(project, `${name}.json`), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
    expect(await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", `${name}.json`])).toBe("");
  });

  test("a project of Vite takes the plugin from it", async () => {
    writeFileSync(join(project, "vite.config.js"), `import { tilewright } from "tilewright/vite";\nexport default { plugins: [tilewright()] };\n`);
    writeFileSync(join(project, "index.html"), `<!doctype html><script type="module" src="/main.js"></script>`);
    writeFileSync(join(project, "main.js"), `import { load } from "./digits.onnx";\nconsole.log((await load()).inputs);\n`);
    expect(await run(process.execPath, [join(root, "node_modules/vite/bin/vite.js"), "build"])).toMatch(/tilewright: digits\.onnx: code .* kB/);
    expect(statSync(join(project, "digits.onnx.d.ts")).size).toBeGreaterThan(0);
  });
});
