import path from "node:path";
import type { Command } from "commander";
import { parseDType } from "../base/dtype.ts";
import { checkModel } from "../check/check.ts";
import { hostFromBytes } from "../graph/host.ts";
import type { Source } from "../importer.ts";
import { type InputFlags, gatherInputs } from "../node/inputs.ts";
import type { PortInfo } from "../runtime/model.ts";
import { Progress, collect, enableRelaxedSimd, loadSource } from "./common.ts";
import { addInputOptions, command } from "./options.ts";

interface CheckFlags extends InputFlags {
  readonly shape?: readonly string[];
}

export function checkCommand(): Command {
  const c = command(
    "check",
    "<model>",
    "Compile a model and compare it with the reference interpreter; name the value, its origin and the pass if they differ.",
    ["check model.onnx", "check model.onnx --shape batch=2 --input tokens=tokens.npy"],
  );
  return addInputOptions(c).option("--shape <spec>", "NAME=1x3x224x224, SYMBOL=4 or SYMBOL=1..16; may be repeated", collect).action(checkAction);
}

/** The inputs as the user knows them. */
function portsOf(s: Source): PortInfo[] {
  const ports = s.kind === "graph" ? s.graph.params : s.kind === "tensor" ? s.function.inputs : s.program.inputs;
  return ports.map((p, i) => ({
    name: s.inputNames[i] ?? p.name,
    dtype: p.dtype.name,
    dims: p.dims.map((d) => (typeof d === "number" ? d : d.toString())),
  }));
}

async function checkAction(file: string, flags: CheckFlags): Promise<void> {
  enableRelaxedSimd();
  const start = performance.now();
  const progress = new Progress();
  try {
    const { source, sizes } = loadSource(file, flags.shape);
    const ports = portsOf(source);
    const symbols = new Map(Object.entries(sizes.symbols).filter((e): e is [string, number] => typeof e[1] === "number"));
    const given = gatherInputs({ inputs: ports }, { random: 1, ...flags }, { shapes: sizes.shapes, symbols });
    const inputs = ports.map((p) => {
      const { data, dims } = given[p.name] as NonNullable<(typeof given)[string]>;
      return hostFromBytes(parseDType(p.dtype), dims, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    });
    const found = await checkModel(source, inputs, { progress: (t) => progress.show(t) });
    progress.done();
    const seconds = ((performance.now() - start) / 1e3).toFixed(1);
    if (found === null) {
      process.stdout.write(
        `${path.basename(file)}: agrees with the reference interpreter on ${source.outputNames.length} output${source.outputNames.length === 1 ? "" : "s"} (${seconds} s)\n`,
      );
      return;
    }
    const { index, expected, got, count } = found.divergence;
    const origin = found.origin.length === 0 ? "" : `, from ${found.origin.map((o) => `'${o}'`).join(", ")}`;
    process.stdout.write(
      `${path.basename(file)}: differs from the reference interpreter (${seconds} s)\n  first diverging value: ${found.value}[${index.join(", ")}]${origin}\n  expected ${expected}, got ${got} (${count} elements differ)\n  introduced by: ${found.pass}\n`,
    );
    process.exitCode = 1;
  } finally {
    progress.done();
  }
}
