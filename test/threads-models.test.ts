import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { modelFolder } from "../bench/suite.mjs";
import { buildForTests } from "./support/cli.ts";
import { suiteMissing } from "./support/models.ts";

// The same bits, whatever the number of threads.

interface Result {
  readonly threads: number;
  readonly threads_reason: string;
  readonly hash: string;
}
interface ChildResult {
  /** Launches that threads share in the artifact: all that may be. */
  readonly shared: number;
  /** With 1, 2, 3 and 7 threads. */
  readonly fromArtifact: readonly Result[];
  /** With 1, 2 and 3, launches shared where it pays. */
  readonly inProcess: readonly Result[];
}

const root = fileURLToPath(new URL("../", import.meta.url));
let dist = "";
beforeAll(() => {
  dist = buildForTests();
});

function run(name: string, file: string, dir: string | null): ChildResult {
  const env = { ...process.env, TILEWRIGHT_VERIFY: "" };
  const child = spawnSync(process.execPath, [join(root, "test/support/threads-child.mjs"), JSON.stringify({ dist, file, name, dir })], {
    env,
    encoding: "utf8",
    timeout: 110_000,
  });
  if (child.status !== 0) throw new Error(`${name}: ${child.status ?? child.signal}: ${child.stdout}${child.stderr}`);
  return JSON.parse(child.stdout) as ChildResult;
}

function checkBits(r: ChildResult): void {
  expect(r.shared).toBeGreaterThan(5);
  expect(r.fromArtifact.map((x) => x.threads)).toEqual([1, 2, 3, 7]);
  expect(new Set(r.fromArtifact.map((x) => x.hash)).size).toBe(1);
  expect(new Set(r.inProcess.map((x) => x.hash)).size).toBe(1);
}

test("digits", () => {
  const r = run("digits", join(root, "examples/digits/digits.onnx"), null);
  checkBits(r);
  // As it is usually compiled it is too small for threads.
  expect(r.inProcess.map((x) => x.threads)).toEqual([1, 1, 1]);
  expect(r.inProcess[1]?.threads_reason).toMatch(/^2 threads were asked for, but none of the model's kernels has enough to do/);
});

if (suiteMissing !== null) console.log(`skipped: ${suiteMissing}`);
describe.skipIf(suiteMissing !== null)("models of the suite", () => {
  test.each(["mobilenet_v3_small", "squeezenet1_1", "gpt_kv"])(
    "%s",
    (name) => {
      const dir = modelFolder(name);
      const r = run(name, join(dir, `${name}.onnx`), dir);
      checkBits(r);
      expect(r.inProcess.map((x) => x.threads)).toEqual([1, 2, 3]);
    },
    120_000,
  );
});
