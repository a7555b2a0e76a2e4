import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browserMissing, inBrowser, isolation } from "./support/browser.ts";
import { CliFolder, buildForTests } from "./support/cli.ts";
import { rowsText } from "./support/threads.ts";

// Threads in a browser, where the leader is a page's main thread, which may not sleep, or a worker, which may.

if (browserMissing !== null) console.log(`browser tests are skipped: ${browserMissing}`);
const here = new CliFolder();
let folders: Readonly<Record<string, string>> = {};
beforeAll(async () => {
  const dist = buildForTests();
  here.file("rows.tw", rowsText);
  const r = await here.spawn(["compile", "rows.tw", "-o", "artifact"]);
  if (r.status !== 0) throw new Error(r.stderr);
  folders = { dist, artifact: `${here.path}/artifact`, files: here.path, pbf: fileURLToPath(new URL("../node_modules/pbf", import.meta.url)) };
});
afterAll(() => here.remove());

/** Sizes one after the other, many times, with pauses in which threads fall asleep. */
const use = `async function use(m) {
  const sums = [];
  for (let round = 0; round < 20; round++) {
    if (round % 5 === 0) await new Promise((done) => setTimeout(done, 20));
    for (const n of [1, 7, 300, 64]) {
      const { y } = await m.run({ x: { data: Float32Array.from({ length: n }, (_, i) => Math.sin(i)), dims: [n] } });
      sums.push(y.data.reduce((a, b) => Math.imul(a, 31) + Math.round(b * 2 ** 20) | 0, 0));
    }
  }
  const { threads, threads_reason } = m.info();
  m.dispose();
  return { threads, threads_reason, sums: sums.join() };
}`;

interface Said {
  readonly threads: number;
  readonly threads_reason: string;
  readonly sums: string;
}

test.skipIf(browserMissing !== null)(
  "an isolated page has threads: of artifacts, of models compiled in it, and in workers of its own",
  async () => {
    here.file("worker.js", `import { load } from "/artifact/model.js";\n${use}\npostMessage(await use(await load({ threads: 2 })));\n`);
    const page = `${use}
      const { load } = await import("/artifact/model.js");
      const results = [];
      for (const threads of [1, 2, 3]) results.push(await use(await load({ threads })));
      const { compile } = await import("/dist/index.js");
      const text = ${JSON.stringify(readFileSync(`${here.path}/rows.tw`, "utf8"))};
      results.push(await use(await compile(new TextEncoder().encode(text), { threads: 2 })));
      const worker = new Worker("/files/worker.js", { type: "module" });
      results.push(await new Promise((done) => { worker.onmessage = (e) => done(e.data); }));
      say(JSON.stringify(results));`;
    const results = JSON.parse(await inBrowser(page, folders, isolation)) as Said[];
    expect(results.map((r) => [r.threads, r.threads_reason])).toEqual(
      [1, 2, 3, 2, 2].map((n) => [n, n === 1 ? "one thread was asked for" : `${n} threads were asked for`]),
    );
    expect(new Set(results.map((r) => r.sums)).size).toBe(1);
  },
  240_000,
);

test.skipIf(browserMissing !== null)(
  "any other page runs on one thread, and says which headers are missing",
  async () => {
    const page = `${use} const { load } = await import("/artifact/model.js"); say(JSON.stringify(await use(await load({ threads: 2 }))));`;
    const r = JSON.parse(await inBrowser(page, folders)) as Said;
    expect(r).toMatchObject({
      threads: 1,
      threads_reason: expect.stringMatching(/not cross-origin isolated.*Cross-Origin-Opener-Policy: same-origin/),
    });
  },
  240_000,
);
