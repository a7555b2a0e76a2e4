// Defaults against what the tuner finds, on shapes that no schedule was ever looked at for: 50 of them, drawn from a seed.
//   node bench/defaults.mjs [--shapes N] [--trials T] [--seed S] [--only NAME] [--json FILE] [--dist DIR]
import { existsSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import v8 from "node:v8";
import { drawShapes } from "./shapes.mjs";
import { geometricMean } from "./statistics.mjs";
import { percent, table } from "./table.mjs";

const help = `Usage: npm run bench:defaults -- [options]

How near the default schedules come to the best that the tuner finds, on seeded shapes outside of the model suite.

  --shapes N    how many shapes (default 50)
  --trials T    schedules measured for each kernel of a shape (default 64)
  --seed S      another 50 shapes, and another search (default 1)
  --only NAME   only shapes whose name contains this
  --list        print the shapes, measure nothing
  --json FILE   writes all numbers to a file
  --dist DIR    measures a build that lies elsewhere
`;

/** A default that reaches this share of the speed that was found is good enough. */
const goal = 0.8;

const options = parse();
const dist = resolve(options.dist ?? join(fileURLToPath(new URL("..", import.meta.url)), "dist"));
if (!existsSync(join(dist, "tune/tune.js"))) {
  console.error(`${dist}: there is no build of tilewright; run 'npm run build' first`);
  process.exit(2);
}
const part = (path) => import(pathToFileURL(join(dist, path)).href);
const [{ GraphBuilder }, { f32 }, { hostFrom }, { compileGraph }, { collectTasks, tune }, { modelledTimes }] = await Promise.all(
  ["graph/builder.js", "base/dtype.js", "graph/host.js", "compile.js", "tune/tune.js", "tune/report.js"].map(part),
);
const [{ WorkerEngine }, { machineId }, { wasmMachine }, { hasRelaxedSimd }, { seededRandom }] = await Promise.all(
  ["node/measure.js", "node/tuning.js", "targets/wasm/machine.js", "runtime/model.js", "schedule/random.js"].map(part),
);

const shapes = drawShapes({ f32, hostFrom, random: seededRandom(options.seed) }, options.shapes).filter(
  (s) => options.only === undefined || s.name.includes(options.only),
);
if (options.list) for (const s of shapes) console.log(s.name);
else process.exitCode = await measureAll();

function parse() {
  const fail = (message) => {
    console.error(`${message}\n\n${help}`);
    process.exit(2);
  };
  try {
    const { values } = parseArgs({
      options: {
        shapes: { type: "string", default: "50" },
        trials: { type: "string", default: "64" },
        seed: { type: "string", default: "1" },
        only: { type: "string" },
        list: { type: "boolean", default: false },
        json: { type: "string" },
        dist: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(help);
      process.exit(0);
    }
    const count = (name) => {
      const n = Number(values[name]);
      if (!Number.isSafeInteger(n) || n < 1) fail(`--${name} must be a positive whole number, got '${values[name]}'`);
      return n;
    };
    return { ...values, shapes: count("shapes"), trials: count("trials"), seed: count("seed") };
  } catch (e) {
    return fail(e.message);
  }
}

/** Tunes every shape. Gives the exit status: 1 when a shape could not be measured. */
async function measureAll() {
  if (!hasRelaxedSimd() && process.versions.node.startsWith("20.")) v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  const relaxed = hasRelaxedSimd();
  const context = { machine: wasmMachine, relaxed, exact: false, threads: 1, database: { entries: [] }, machineId: machineId(relaxed) };
  console.error(`${shapes.length} shapes, ${options.trials} trials for each kernel, on ${cpus()[0]?.model ?? "an unknown processor"}`);
  const engine = new WorkerEngine();
  const results = [];
  for (const [i, shape] of shapes.entries()) {
    const r = await measure(shape, context, engine);
    results.push(r);
    const told = r.share === null ? `not measured: ${r.why}` : `${r.default_ms.toFixed(3)} ms, ${percent(r.share)} of the best found`;
    console.error(`${i + 1} of ${shapes.length}: ${shape.name}: ${told}`);
  }
  await engine.close();
  print(results);
  if (options.json !== undefined) {
    const { shapes: count, trials, seed } = options;
    writeFileSync(options.json, `${JSON.stringify({ machine: context.machineId, shapes: count, trials, seed, results }, null, 1)}\n`);
  }
  return results.every((r) => r.share !== null) ? 0 : 1;
}

async function measure(shape, context, engine) {
  const g = new GraphBuilder();
  const graph = g.finish("shape", [], [shape.build(g)]);
  const tasks = collectTasks((o) => compileGraph(graph, o), context);
  const result = await tune(tasks, {
    trials: options.trials * tasks.length,
    seed: options.seed,
    engine,
    context,
    records: [],
    record: () => {},
    save: () => {},
  });
  const failed = result.tasks.find((t) => Number.isNaN(t.defaultMs));
  const { defaultMs, tunedMs } = modelledTimes(result);
  if (failed !== undefined) return { name: shape.name, default_ms: null, tuned_ms: null, share: null, trials: result.trials, why: failed.over };
  return { name: shape.name, default_ms: defaultMs, tuned_ms: tunedMs, share: tunedMs / defaultMs, trials: result.trials, why: null };
}

function print(results) {
  const rows = results.map((r) =>
    r.share === null
      ? [r.name, "–", "–", "–", String(r.trials)]
      : [r.name, r.default_ms.toFixed(3), r.tuned_ms.toFixed(3), percent(r.share), String(r.trials)],
  );
  console.log(`\n${table(["shape", "default ms", "tuned ms", "share", "trials"], rows)}`);
  const shares = results.flatMap((r) => (r.share === null ? [] : [r.share]));
  if (shares.length === 0) return;
  const good = shares.filter((s) => s >= goal).length;
  console.log(
    `\n  ${good} of ${shares.length} defaults reach ${goal * 100} % of the speed found; geometric mean ${percent(geometricMean(shares))}, least ${percent(Math.min(...shares))}.`,
  );
}
