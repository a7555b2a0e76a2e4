import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { CliFolder, mlpText } from "./support/cli.ts";

const folder = new CliFolder();
folder.file("mlp.tw", mlpText);
afterAll(() => folder.remove());
const text = (name: string) => readFileSync(join(folder.path, name), "utf8");
const trials = ["--trials", "4", "--seconds", "5"];

it("tunes, goes on in a second call, and the other commands take the database", async () => {
  const first = await folder.run(["tune", "mlp.tw", ...trials, "--db", "db/tuned.json", "--curve", "curve.svg"]);
  expect(first.stderr).toBe("");
  expect(first.status).toBe(0);
  expect(first.stdout).toMatch(/^kernel +launches +default ms +tuned ms +gain +trials +kept\nfc/);
  expect(first.stdout).toMatch(/\d+ schedules and layouts measured on one thread with /);
  expect(first.stdout).toMatch(/db\/tuned\.json: \d of \d kernels have an entry/);
  expect(text("curve.svg")).toMatch(/<svg /);
  expect(JSON.parse(text("db/tuned.json"))).toMatchObject({ format: "tilewright-schedules" });
  const tried = text("db/tuned.json.log").split("\n").length;
  const second = await folder.run(["tune", "mlp.tw", ...trials, "--db", "db/tuned.json", "--kernel", "fc"]);
  expect(second.status).toBe(0);
  const lines = text("db/tuned.json.log").trimEnd().split("\n");
  expect(lines.length).toBeGreaterThanOrEqual(tried);
  const schedules = lines.map((l) => JSON.stringify((JSON.parse(l) as unknown[])[4]));
  expect(new Set(schedules).size).toBe(schedules.length);
  const plain = await folder.run(["run", "mlp.tw", "--random", "1"]);
  for (const command of ["run", "ir", "bench"]) {
    const more = { run: ["--random", "1"], ir: ["--stage", "loop"], bench: ["--runs", "1"] }[command] ?? [];
    const r = await folder.run([command, "mlp.tw", ...more, "--db", "db/tuned.json"]);
    expect([r.status, r.stderr]).toEqual([0, ""]);
    if (command === "run") expect(r.stdout).toBe(plain.stdout);
  }
});

it("measures with threads, and keeps what it found apart from what one thread found", async () => {
  const r = await folder.run(["tune", "mlp.tw", ...trials, "--threads", "2", "--db", "db/threads.json"]);
  expect(r.status).toBe(0);
  expect(r.stdout).toMatch(/schedules and layouts measured on 2 threads with /);
  expect(text("db/threads.json.log")).toMatch(/"wasm[^"]*, 2 threads, V8 /);
  const run = await folder.run(["run", "mlp.tw", "--random", "1", "--threads", "2", "--db", "db/threads.json"]);
  expect(run.status).toBe(0);
});

it.each([
  [
    "threads without their feature",
    ["tune", "mlp.tw", ...trials, "--db", "x.json", "--threads", "2", "--features", "simd"],
    /feature 'mt' is left out/,
  ],
  ["too many threads", ["tune", "mlp.tw", ...trials, "--db", "x.json", "--threads", "1000"], /threads must be a whole number from 1 to 64/],
  ["no database named", ["tune", "mlp.tw", "--trials", "1"], /required option '--db <file>'/],
  ["no trials", ["tune", "mlp.tw", "--db", "x.json"], /required option '--trials <n>'/],
  [
    "a kernel that is not there",
    ["tune", "mlp.tw", ...trials, "--db", "x.json", "--kernel", "conv"],
    /no kernel stands for a node called like 'conv'; there are: fc/,
  ],
  ["a curve that is no picture", ["tune", "mlp.tw", ...trials, "--db", "x.json", "--curve", "c.png"], /expected a file named \.svg/],
  ["a model that is not there", ["tune", "no.onnx", ...trials, "--db", "x.json"], /no\.onnx: cannot be read/],
  ["a folder", ["tune", ".", ...trials, "--db", "x.json"], /is an artifact/],
  ["a database that is none", ["tune", "mlp.tw", ...trials, "--db", "mlp.tw"], /mlp\.tw: it is no JSON/],
  ["a database that is none, to compile with", ["compile", "mlp.tw", "-o", "o", "--db", "mlp.tw"], /mlp\.tw: it is no JSON/],
  ["a database that is not there, to run with", ["run", "mlp.tw", "--random", "1", "--db", "no.json"], /no\.json: cannot be read/],
  ["an artifact and a database", ["run", ".", "--db", "x.json"], /holds no artifact/],
])("%s: status 2 and a word on it", async (_, args, message) => {
  const r = await folder.run(args);
  expect([r.status, r.stdout]).toEqual([2, ""]);
  expect(r.stderr).toMatch(message);
});

it("a log that is malformed is named with its line", async () => {
  folder.file("bad.json.log", "what?\n");
  const r = await folder.run(["tune", "mlp.tw", ...trials, "--db", "bad.json"]);
  expect(r.status).toBe(2);
  expect(r.stderr).toMatch(/bad\.json\.log, line 1: is no JSON .*delete the line/);
});
