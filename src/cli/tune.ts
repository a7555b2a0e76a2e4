import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { UserError } from "../base/errors.ts";
import { type CompileOptions, checkOptions, compileSource, featuresHere } from "../load.ts";
import { readFile, writeFile } from "../node/files.ts";
import { WorkerEngine } from "../node/measure.ts";
import { TrialLog, machineId, readDatabaseIfThere, writeDatabase } from "../node/tuning.ts";
import { sharedMemoryMissing } from "../runtime/threads.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import type { BuildContext } from "../tune/candidate.ts";
import { parseTrials } from "../tune/log.ts";
import { refusals, tuneModel, wantedTasks } from "../tune/model.ts";
import { curveSvg, curveText, layoutHead, layoutRows, modelledTimes, reportHead, reportRows } from "../tune/report.ts";
import type { Task } from "../tune/task.ts";
import { type ModelCompiler, type TuneResult, collectTasks, nameOf } from "../tune/tune.ts";
import { type ModelFlags, Progress, enableRelaxedSimd, isFolder, loadSource, note, parseCount, simdText, table } from "./common.ts";
import { addSourceOptions, command } from "./options.ts";
import { compileOptions } from "./session.ts";

interface TuneFlags extends ModelFlags {
  readonly trials: number;
  readonly db: string;
  readonly seconds?: number;
  readonly seed: number;
  readonly kernel?: string;
  readonly curve?: string;
}

export function tuneCommand(): Command {
  const c = command("tune", "<model>", "Search faster layouts and schedules for a model's kernels by measuring them in this engine.", [
    "tune model.onnx --trials 1000 --db tuned.json",
    "tune model.onnx --trials 200 --seconds 60 --kernel conv1 --db tuned.json",
    "tune model.onnx --trials 1000 --threads 2 --db tuned.json",
    "compile model.onnx --db tuned.json -o out",
  ]);
  return addSourceOptions(c)
    .requiredOption("--trials <n>", "layouts and schedules to measure", parseCount(1))
    .requiredOption("--db <file>", "the database: JSON, made if it is not there; FILE.log keeps what was tried, for a later call to go on from")
    .option("--threads <n>", "threads to measure with; the entries hold for that number (default: 1)", parseCount(1))
    .option("--seconds <n>", "search no longer than this; the last comparisons come on top", parseCount(1))
    .option("--seed <n>", "seed of the search", parseCount(0), 1)
    .option("--kernel <origin>", "only kernels that stand for a node whose name contains this")
    .option("--curve <file>", "write the curve of best time against trials to this .svg")
    .action(tuneAction);
}

async function tuneAction(file: string, flags: TuneFlags): Promise<void> {
  enableRelaxedSimd();
  if (isFolder(file)) throw new UserError("tune", `${file} is an artifact, compiled already; give the model's file`);
  if (flags.curve !== undefined && !flags.curve.endsWith(".svg")) throw new UserError("option", `--curve ${flags.curve}: expected a file named .svg`);
  const options = compileOptions({ ...flags, db: undefined });
  checkOptions(options);
  const relaxed = featuresHere(options).includes("relaxed");
  const threads = threadsHere(options);
  const database = readDatabaseIfThere(flags.db);
  const log = `${flags.db}.log`;
  const records = fs.existsSync(log) ? parseTrials(new TextDecoder().decode(readFile(log)), log) : [];
  const context: BuildContext = {
    machine: wasmMachine,
    relaxed,
    exact: options.exact ?? false,
    threads,
    database,
    machineId: machineId(relaxed, threads),
  };
  const progress = new Progress();
  const stop = new AbortController();
  const stopSoon = () => {
    progress.done();
    note("stopping: the last comparisons are made; press ^C again to leave at once");
    stop.abort();
  };
  const engine = new WorkerEngine();
  const trials = new TrialLog(log);
  try {
    progress.show(`reading ${file}`);
    const { source } = loadSource(file, flags.shape);
    if (source.kind === "program")
      throw new UserError("tune", `${file} is loop IR, which has its schedules already; give the model, or its graph or tensor text`);
    const compile: ModelCompiler = (o) => compileSource(source, [progress.listener], undefined, o);
    const { kernel } = flags;
    if (kernel !== undefined) checkWanted(collectTasks(compile, context), kernel);
    process.once("SIGINT", stopSoon);
    const result = await tuneModel(compile, {
      ...(kernel === undefined ? {} : { wanted: wantedBy(kernel) }),
      trials: flags.trials,
      ...(flags.seconds === undefined ? {} : { seconds: flags.seconds }),
      seed: flags.seed + records.length,
      signal: stop.signal,
      engine,
      context,
      records,
      record: trials.add,
      save: (db) => writeDatabase(flags.db, db),
      progress: (text) => progress.show(text),
    });
    if (result.tasks.length === 0) throw new UserError("tune", "the model runs no kernels: there is nothing to tune");
    if (!fs.existsSync(flags.db)) writeDatabase(flags.db, result.database);
    progress.done();
    if (flags.curve !== undefined)
      writeFile(flags.curve, curveSvg(result.curve, `${path.basename(file)}: time of all kernels, relative to the default schedules`));
    process.stdout.write(`${report(path.basename(file), flags.db, result, context)}\n`);
  } finally {
    progress.done();
    process.off("SIGINT", stopSoon);
    trials.close();
    await engine.close();
  }
}

/** Threads to measure with. @throws UserError `threads` where there can be no more than one */
function threadsHere(options: CompileOptions): number {
  const { threads = 1 } = options;
  if (threads === 1 || featuresHere(options).includes("mt")) {
    const cores = os.availableParallelism();
    if (threads > cores) note(`note: ${threads} threads share ${cores} processor${cores === 1 ? "" : "s"} here; what is found holds for just that`);
    return threads;
  }
  throw new UserError("threads", `${threads} threads: ${sharedMemoryMissing() ?? "the feature 'mt' is left out; add it to --features"}`);
}

const wantedBy = (kernel: string) => (origin: readonly string[]) => origin.some((o) => o.includes(kernel));

/** @throws UserError `kernel` where the model runs none that stands for such a node */
function checkWanted(all: readonly Task[], wanted: string): void {
  if (wantedTasks(all, wantedBy(wanted)).length > 0) return;
  const names = all.map(nameOf);
  throw new UserError(
    "kernel",
    `no kernel stands for a node called like '${wanted}'; there are: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`,
  );
}

function report(model: string, db: string, r: TuneResult, { relaxed, threads }: BuildContext): string {
  const { defaultMs, tunedMs } = modelledTimes(r);
  const kept = r.tasks.filter((t) => t.kept).length;
  const bad = refusals(r.outcomes);
  const layouts = layoutRows(r);
  const lying = r.layouts.filter((l) => l.kept).length;
  const gain =
    defaultMs === 0
      ? ""
      : `; kernels take ${tunedMs.toFixed(3)} ms of ${defaultMs.toFixed(3)} ms, the model should be ${(defaultMs / tunedMs).toFixed(2)} times as fast`;
  const picture = curveText(r.curve);
  return [
    table(reportHead, reportRows(r)),
    "",
    ...(layouts.length === 0 ? [] : ["Orders of dims in memory, with the time of all kernels that they change:", table(layoutHead, layouts), ""]),
    ...(picture === ""
      ? []
      : [
          "Time of all kernels under the best layouts and schedules seen, by trials (first looks; the table is the closing comparison):",
          picture,
          "",
        ]),
    `${model}: ${r.trials} schedules and layouts measured on ${threads === 1 ? "one thread" : `${threads} threads`} with ${simdText(relaxed)}${bad.length > 0 ? `; refused: ${bad.join(", ")}` : ""}`,
    `${db}: ${kept} of ${r.tasks.length} kernels have an entry${r.layouts.length === 0 ? "" : `, ${lying} of ${r.layouts.length} orders of dims`}${gain}`,
  ].join("\n");
}
