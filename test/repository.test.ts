import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { version } from "../src/version.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

interface PackageJson {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}
interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(read("package.json")) as PackageJson;
const lock = JSON.parse(read("package-lock.json")) as { readonly version: string; readonly packages: Readonly<Record<string, LockEntry>> };

/** Committed files, and those that would be. */
function projectFiles(): string[] {
  const git = (args: string[]): string[] => execFileSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 }).split("\0");
  return [...git(["ls-files", "-z"]), ...git(["ls-files", "-z", "--others", "--exclude-standard"])].filter(
    (f) => f !== "" && existsSync(join(root, f)),
  );
}
const files = existsSync(join(root, ".git")) ? projectFiles() : null;
if (files === null) console.log("skipped: what is committed (this is no git checkout)");
const isText = (bytes: Buffer): boolean => !bytes.subarray(0, 8000).includes(0);

describe("versions", () => {
  test("the sources, package.json, the lock file and the changelog name one version", () => {
    expect(version).toBe(manifest.version);
    expect(lock.version).toBe(manifest.version);
    expect(lock.packages[""]?.version).toBe(manifest.version);
    expect(read("CHANGELOG.md")).toContain(`## ${manifest.version}`);
  });

  test("every dependency is pinned", () => {
    for (const [name, v] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) expect(v, name).toMatch(/^\d+\.\d+\.\d+$/);
  });
});

describe("lock file", () => {
  test("names no registry host", () => {
    expect(Object.entries(lock.packages).filter(([, p]) => p.resolved !== undefined)).toEqual([]);
    expect(read("package-lock.json")).not.toMatch(/"https?:\/\/[^"]*\.tgz"/);
  });

  test("has an entry for every optional package (run scripts/complete-lock.mjs otherwise)", () => {
    const missing = Object.values(lock.packages).flatMap((p) =>
      Object.keys(p.optionalDependencies ?? {}).filter((n) => lock.packages[`node_modules/${n}`] === undefined),
    );
    expect(missing).toEqual([]);
  });
});

describe.skipIf(files === null)("committed files", () => {
  test("none is over 1 MB", () => {
    expect((files ?? []).filter((f) => statSync(join(root, f)).size > 1_000_000)).toEqual([]);
  });

  test("none names a place on somebody's machine or a private host", () => {
    // Spelled in pieces, so that this file does not match itself.
    const home = ["/ho", "me/|/ro", "ot/|/Us", "ers/|/wo", "rk/|C:\\\\", "Users"].join("");
    // Port 0 means any free one, and nothing listens at port 1.
    const hosts = ["local", "host:(?![01]\\b)\\d|\\b\\d{1,3}(\\.\\d{1,3}){3}:(?![01]\\b)\\d|\\.inter", "nal\\b|\\.cor", "p\\b|_auth", "Token"].join(
      "",
    );
    const pattern = new RegExp(`(^|[\\s"'\`(=:])(${home})|${hosts}`, "m");
    const found: string[] = [];
    for (const f of files ?? []) {
      const bytes = readFileSync(join(root, f));
      const match = isText(bytes) ? pattern.exec(bytes.toString("utf8")) : null;
      if (match !== null) found.push(`${f}: ${match[0].trim()}`);
    }
    expect(found).toEqual([]);
  });

  test("nothing that is made is among them", () => {
    expect((files ?? []).filter((f) => /^(dist|node_modules|out|\.cache)\//.test(f))).toEqual([]);
  });
});

describe("example", () => {
  test("what the quick start needs is in the example's folder", () => {
    const accuracy = JSON.parse(read("examples/digits/accuracy.json")) as { readonly test_accuracy: number; readonly file_bytes: number };
    expect(statSync(join(root, "examples/digits/digits.onnx")).size).toBe(accuracy.file_bytes);
    expect(read("examples/digits/README.md")).toContain(`${(accuracy.test_accuracy * 100).toFixed(2)} %`);
    expect(read("examples/digits/labels.txt").trim().split("\n")).toHaveLength(10);
  });
});
