import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { runCli } from "../../src/cli/main.ts";

/** The command line, in this process, or as it is installed: built from the sources into a folder of its own (not dist/), once. */

const root = fileURLToPath(new URL("../..", import.meta.url));
const built = join(root, ".cache/cli-test");

/** Builds unless it is up to date; test files that do so at the same time wait for one another. Gives the built folder. */
export function buildForTests(): string {
  const lock = join(root, ".cache/cli-test.lock");
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch {
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > 120_000) rmSync(lock, { recursive: true, force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
  try {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const args = [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", built, "--tsBuildInfoFile", join(root, ".cache/cli-test.tsbuildinfo")];
    const r = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (!existsSync(join(built, "cli.js"))) throw new Error(`the build wrote nothing:\n${r.stdout}${r.stderr}`);
    for (const script of ["bundle-runtime.mjs", "bundle-browser.mjs"]) {
      const bundled = spawnSync(process.execPath, [join(root, "scripts", script), built], { encoding: "utf8" });
      if (bundled.status !== 0) throw new Error(`${script} failed:\n${bundled.stdout}${bundled.stderr}`);
    }
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
  return built;
}

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for one test file's models and artifacts, and the commands run in it. */
export class CliFolder {
  readonly path = mkdtempSync(join(tmpdir(), "tilewright-cli-"));
  file(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }
  list(name = ""): string[] {
    return existsSync(join(this.path, name)) ? readdirSync(join(this.path, name)).sort() : [];
  }
  /** Runs a command in this process. */
  async run(args: readonly string[]): Promise<Ran> {
    const [cwd, out, err] = [process.cwd(), vi.spyOn(process.stdout, "write"), vi.spyOn(process.stderr, "write")];
    let [stdout, stderr] = ["", ""];
    out.mockImplementation((text) => {
      stdout += String(text);
      return true;
    });
    err.mockImplementation((text) => {
      stderr += String(text);
      return true;
    });
    process.chdir(this.path);
    try {
      const status = await runCli(args);
      return { status, stdout, stderr };
    } finally {
      process.chdir(cwd);
      process.exitCode = 0;
      out.mockRestore();
      err.mockRestore();
    }
  }
  /** Runs a command as a user does, in a process of its own; the build must have been made. */
  spawn(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [join(built, "cli.js"), ...args], {
        cwd: this.path,
        env: { ...process.env, TILEWRIGHT_VERIFY: "", ...env },
      });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (d: Buffer) => {
        stdout += d.toString();
      });
      child.stderr.on("data", (d: Buffer) => {
        stderr += d.toString();
      });
      child.on("error", reject);
      child.on("close", (status) => resolve({ status, stdout, stderr }));
    });
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** IR text of a small model: `scores = max(x · w, 0)`. */
export const mlpText = `// a small graph
graph @mlp {
  input %x: f32[2, 4]
  %w: f32[4, 3] = constant() {dtype = f32, dims = [4, 3], data = values(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0, 8.0, 1.0, 2.0, -3.0, 4.0)}
  %y: f32[2, 3] = dot(%x, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} from "fc"
  %z: f32[2, 3] = max(%y, %y) from "relu"
  output %z as "scores"
}
`;
