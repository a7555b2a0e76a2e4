// From files on disk to the first result, in a fresh process.
import { isRight } from "../results.mjs";
import { readModel } from "../suite.mjs";
import { importOrt, openArtifact, openSession, resultShare } from "./artifact.mjs";

/** Runs after the first one go on for so long, and so often at least: the fastest is "one run". */
const settle = { ms: 1000, runs: 5 };

/** `{ engine, name, artifact, threads }`: milliseconds until it could run, until the first result, and of one run. */
export async function start({ engine, name, artifact, threads }) {
  const model = readModel(name);
  const ort = engine === "tilewright" ? null : await importOrt(threads);
  const { opened, outputs, ...times } = await timeStart(() =>
    ort === null ? openArtifact({ artifact, threads }, model.inputs) : openSession(ort, model, model.inputs),
  );
  const weights = opened.info === undefined ? {} : { weight_bytes: opened.info().weight_bytes };
  return { right: isRight(model, outputs, resultShare), ...times, ...weights };
}

/** Opens an engine (something with `run`), runs it for the first time, and then until it is clear what one run takes. */
export async function timeStart(open) {
  const begun = performance.now();
  const opened = await open();
  const ready = performance.now();
  const outputs = await opened.run();
  const first = performance.now();
  const run = await fastest(opened);
  return { opened, outputs, ready_ms: ready - begun, first_ms: first - begun, run_ms: run, start_ms: first - begun - run };
}

async function fastest(opened) {
  const begun = performance.now();
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < settle.runs || performance.now() - begun < settle.ms; i++) {
    const start = performance.now();
    await opened.run();
    best = Math.min(best, performance.now() - start);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return best;
}
