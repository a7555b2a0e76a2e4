import type { Command } from "commander";
import { UserError } from "../base/errors.ts";
import { bytesText } from "../base/text.ts";
import { buildC, levelsFor } from "../build-c.ts";
import { type BuildOptions, buildArtifact } from "../load.ts";
import { writeArtifact, writeCArtifact } from "../node/artifact.ts";
import { buildArtifactLibrary } from "../node/native/index.ts";
import { nativeLevel } from "../node/native/processor.ts";
import { plannedEnd } from "../runtime/memory.ts";
import type { CManifest, Manifest } from "../runtime/model.ts";
import type { Source } from "../importer.ts";
import { type ModelFlags, Progress, debugListeners, loadSource, note, parseBytes } from "./common.ts";
import { IrDump } from "./dump.ts";
import { addCompileOptions, addCpuOption, command } from "./options.ts";
import { compileOptions } from "./session.ts";
import { sourceText } from "../explorer/source.ts";

interface CompileFlags extends ModelFlags {
  readonly output: string;
  readonly shard?: number;
  readonly inline?: boolean;
  readonly dumpIr?: string;
  readonly cpu?: string;
}

export function compileCommand(): Command {
  const c = command("compile", "<model>", "Compile a model file to an artifact: WebAssembly or C, and weights.", [
    "compile model.onnx -o out",
    "compile model.onnx -o out --shape batch=1..16 --shard 20MiB",
    "compile model.onnx -o out --target c --cpu x86-64-v3",
    "compile model.onnx -o out --dump-ir ir",
  ]);
  return addCpuOption(addCompileOptions(c))
    .requiredOption("-o, --output <dir>", "folder of the artifact")
    .option("--shard <size>", "split the weights into files of at most this size, for example 20MiB", parseBytes)
    .option("--inline", "one file for everything: modules and weights stand in model.js (for bundlers that copy no files)")
    .option("--dump-ir <dir>", "write the IR after every step that changed it to numbered files")
    .action(compileAction);
}

async function compileAction(file: string, flags: CompileFlags): Promise<void> {
  const progress = new Progress();
  try {
    const start = performance.now();
    progress.show(`reading ${file}`);
    const loaded = loadSource(file, flags.shape);
    const dump = flags.dumpIr === undefined ? null : new IrDump(flags.dumpIr);
    dump?.write(loaded.source.kind === "program" ? "loop" : loaded.source.kind, "source", sourceText(loaded.source));
    const options: BuildOptions = {
      ...compileOptions(flags),
      name: loaded.name,
      sourceHash: loaded.hash,
      listeners: [progress.listener, ...(dump === null ? [] : [dump.listener]), ...debugListeners()],
    };
    const written =
      flags.target === "c" ? await compileToC(loaded.source, options, flags, progress) : await compileToWasm(loaded.source, options, flags, progress);
    progress.done();
    process.stdout.write(`${flags.output}: ${written}; ${((performance.now() - start) / 1e3).toFixed(1)} s\n`);
  } finally {
    progress.done();
  }
}

/** Writes the artifact; gives what is said of it. */
async function compileToWasm(source: Source, options: BuildOptions, flags: CompileFlags, progress: Progress): Promise<string> {
  if (flags.cpu !== undefined) throw new UserError("cpu", "--cpu is for --target c; WebAssembly is for all processors");
  const { artifact } = buildArtifact(source, options);
  progress.show("writing the artifact");
  const m = await writeArtifact(artifact, flags.output, {
    ...(flags.shard === undefined ? {} : { shardBytes: flags.shard }),
    inline: flags.inline ?? false,
  });
  return [
    m.modules.map((x) => `${x.file} ${bytesText(x.bytes)}`).join(", "),
    weightsText(m),
    `${arenaText(m)}${peakText(m, flags.keptMemory)}`,
    `${m.kernels.length} kernels`,
  ].join("; ");
}

async function compileToC(source: Source, options: BuildOptions, flags: CompileFlags, progress: Progress): Promise<string> {
  if (flags.inline) throw new UserError("inline", "--inline is for --target wasm; C code maps its weights from a file");
  if (flags.shard !== undefined) throw new UserError("shard", "--shard is for --target wasm; C code maps its weights from one file");
  const { target: _, ...rest } = options;
  const { artifact } = buildC(source, rest, levelsFor(flags.cpu, flags.deterministic ?? false, nativeLevel));
  progress.show("writing the artifact");
  const m = await writeCArtifact(artifact, flags.output);
  const written = m.files.map((f) => `${f.file} ${bytesText(f.bytes)}`);
  progress.show("building the shared library");
  const library = await buildArtifactLibrary(flags.output);
  progress.done();
  if ("missing" in library) note(`no shared library was built, the artifact is whole without: ${library.missing}`);
  else written.push(`${library.file} ${bytesText(library.bytes)}`);
  return [written.join(", "), `code for ${m.levels.join(", ")}`, weightsText(m), arenaText(m), `${m.kernels.length} kernels`].join("; ");
}

function weightsText(m: Manifest | CManifest): string {
  return m.weights.length === 0 ? "no weights" : `weights ${bytesText(m.weight_bytes)}${m.weights.length > 1 ? ` in ${m.weights.length} files` : ""}`;
}
/** What a model whose sizes have a bound needs at most: weights, arena and the threads' scratch memory; and what was asked for besides. */
function peakText(m: Manifest, kept: number | undefined): string {
  const threads = m.modules.some((x) => x.shared) ? m.threads : 1;
  const end = plannedEnd(m.memory, m.weights_base + m.weight_bytes, threads);
  const room = kept === undefined ? "" : `, ${bytesText(kept)} for kept tensors`;
  return `${end === null ? "" : `, planned peak ${bytesText(end)}`}${room}`;
}
function arenaText(m: Manifest | CManifest): string {
  return m.arena_bytes === null ? "arena by its symbols' sizes" : `arena ${bytesText(m.arena_bytes)}`;
}
