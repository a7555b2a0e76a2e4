import type { Command } from "commander";
import { type BuildOptions, buildArtifact } from "../load.ts";
import { writeArtifact } from "../node/artifact.ts";
import { type ModelFlags, Progress, bytesText, debugListeners, loadSource, parseBytes } from "./common.ts";
import { IrDump } from "./dump.ts";
import { addCompileOptions, command } from "./options.ts";
import { compileOptions } from "./session.ts";
import { sourceText } from "./source-text.ts";

interface CompileFlags extends ModelFlags {
  readonly output: string;
  readonly shard?: number;
  readonly dumpIr?: string;
}

export function compileCommand(): Command {
  const c = command("compile", "<model>", "Compile a model file to an artifact: WebAssembly, weights and a loader.", [
    "compile model.onnx -o out",
    "compile model.onnx -o out --shape batch=1..16 --shard 20MiB",
    "compile model.onnx -o out --dump-ir ir",
  ]);
  return addCompileOptions(c)
    .requiredOption("-o, --output <dir>", "folder of the artifact")
    .option("--shard <size>", "split the weights into files of at most this size, for example 20MiB", parseBytes)
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
    const { artifact } = buildArtifact(loaded.source, options);
    progress.show("writing the artifact");
    const m = await writeArtifact(artifact, flags.output, flags.shard === undefined ? {} : { shardBytes: flags.shard });
    progress.done();
    const modules = m.modules.map((x) => `${x.file} ${bytesText(x.bytes)}`).join(", ");
    const weights =
      m.weights.length === 0 ? "no weights" : `weights ${bytesText(m.weight_bytes)}${m.weights.length > 1 ? ` in ${m.weights.length} files` : ""}`;
    const arena =
      m.arena_bytes === null
        ? "arena by its symbols' sizes"
        : `arena ${bytesText(m.arena_bytes)}, planned peak ${bytesText(m.weights_base + m.weight_bytes + m.arena_bytes)}`;
    process.stdout.write(
      `${flags.output}: ${modules}; ${weights}; ${arena}; ${m.kernels.length} kernels; ${((performance.now() - start) / 1e3).toFixed(1)} s\n`,
    );
  } finally {
    progress.done();
  }
}
