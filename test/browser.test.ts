import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { browserMissing, inBrowser } from "./support/browser.ts";
import { buildForTests } from "./support/cli.ts";

// The artifact, and the compiler itself, in a browser.

const root = fileURLToPath(new URL("../", import.meta.url));
if (browserMissing !== null) console.log(`browser tests are skipped: ${browserMissing}`);

const digits = join(root, "examples/digits");
const run = 'const r = await model.run({ image: new Float32Array(64).fill(0.5) }); say(Array.from(r.logits.data, (x) => x.toFixed(3)).join(" "));';

test.skipIf(browserMissing !== null)(
  "the library compiles in a browser as it does here, and the artifact runs there",
  async () => {
    const dist = buildForTests();
    const { compile } = (await import(join(dist, "index.js"))) as typeof import("../src/index.ts");
    const here = await compile(new Uint8Array(readFileSync(join(digits, "digits.onnx"))));
    const { logits } = await here.run({ image: new Float32Array(64).fill(0.5) });
    const expected = Array.from(logits?.data as Float32Array, (x) => x.toFixed(3)).join(" ");

    const out = mkdtempSync(join(tmpdir(), "tilewright-artifact-"));
    await promisify(execFile)(process.execPath, [join(dist, "cli.js"), "compile", join(digits, "digits.onnx"), "-o", join(out, "digits")]);
    const folders = { dist, digits, artifact: join(out, "digits"), pbf: join(root, "node_modules/pbf") };
    const compiled = await inBrowser(
      `const { compile } = await import("/dist/index.js"); const bytes = await (await fetch("/digits/digits.onnx")).arrayBuffer(); const model = await compile(new Uint8Array(bytes)); ${run}`,
      folders,
    );
    const loaded = await inBrowser(`const { load } = await import("/artifact/model.js"); const model = await load(); ${run}`, folders);
    rmSync(out, { recursive: true, force: true });
    expect(compiled).toBe(expected);
    expect(loaded).toBe(expected);
  },
  240_000,
);
