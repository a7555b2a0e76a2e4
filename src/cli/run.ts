import path from "node:path";
import type { Command } from "commander";
import { type DType, type TypedArray, parseDType } from "../base/dtype.ts";
import { UserError } from "../base/errors.ts";
import { readElement } from "../base/numeric.ts";
import { readFile, writeFile } from "../node/files.ts";
import { type InputFlags, gatherInputs } from "../node/inputs.ts";
import { writeNpy } from "../data/npy.ts";
import type { OutputTensor } from "../runtime/model.ts";
import { type ModelFlags, enableRelaxedSimd, portText } from "./common.ts";
import { openNativeSession } from "./native.ts";
import { addCompileOptions, addInputOptions, command } from "./options.ts";
import { openSession } from "./session.ts";

interface RunFlags extends ModelFlags, InputFlags {
  readonly labels?: string;
  readonly output?: string;
}

export function runCommand(): Command {
  const c = command("run", "<model>", "Run a model file or an artifact once, and print its outputs.", [
    "run model.onnx --input image=cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --labels labels.txt",
    "run out --input tokens=tokens.npy --output results",
    "run model.onnx --random 1 --target native --threads 2",
  ]);
  return addInputOptions(addCompileOptions(c))
    .option("--labels <file>", "names of the classes, one a line (or a JSON list): prints the top 5 of a class vector")
    .option("--output <dir>", "write each output to NAME.npy in this folder")
    .action(runAction);
}

async function runAction(file: string, flags: RunFlags): Promise<void> {
  enableRelaxedSimd();
  const labels = flags.labels === undefined ? null : readLabels(flags.labels);
  const { model, manifest, sizes } = await (flags.target === "native" ? openNativeSession(file, flags) : openSession(file, flags));
  const inputs = gatherInputs(manifest, flags, sizes);
  const outputs = await model.run(inputs);
  const lines: string[] = [];
  for (const p of manifest.outputs) {
    const t = outputs[p.name] as OutputTensor;
    lines.push(`${portText({ ...p, dims: t.dims })}  ${summary(t)}`);
    if (labels !== null) lines.push(...topClasses(p.name, t, labels, manifest.outputs.length === 1));
  }
  if (flags.output !== undefined) {
    for (const p of manifest.outputs) {
      const t = outputs[p.name] as OutputTensor;
      writeFile(path.join(flags.output, `${fileName(p.name)}.npy`), writeNpy(t.dtype, t.dims, t.data));
    }
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** A name as a file's: characters that lead elsewhere become `_`. */
function fileName(name: string): string {
  return name.replace(/[/\\:\0]/g, "_").replace(/^\.+/, "_");
}

function values(t: OutputTensor): number[] {
  const dtype: DType = parseDType(t.dtype);
  const count = t.dims.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => Number(readElement(dtype, t.data as TypedArray, i)));
}
const short = (v: number) => (Number.isInteger(v) ? String(v) : v.toPrecision(5));

/** Range, mean, deviation and the first values. */
function summary(t: OutputTensor): string {
  const v = values(t);
  if (v.length === 0) return "empty";
  const head = `[${v.slice(0, 4).map(short).join(", ")}${v.length > 4 ? ", …" : ""}]`;
  if (v.length === 1) return head;
  const finite = v.filter(Number.isFinite);
  const bad = v.length - finite.length;
  const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
  const deviation = Math.sqrt(finite.reduce((a, b) => a + (b - mean) ** 2, 0) / finite.length);
  const [min, max] = finite.reduce(([lo, hi], x) => [Math.min(lo, x), Math.max(hi, x)], [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  return `${finite.length === 0 ? "" : `min ${short(min)}  max ${short(max)}  mean ${short(mean)}  deviation ${short(deviation)}  `}${bad > 0 ? `${bad} not finite  ` : ""}${head}`;
}

function readLabels(file: string): string[] {
  const text = new TextDecoder().decode(readFile(file));
  if (!/^\s*\[/.test(text)) return text.trim().split(/\r?\n/);
  try {
    return (JSON.parse(text) as unknown[]).map(String);
  } catch (e) {
    throw new UserError("labels", `${file}: is no JSON list (${(e as Error).message})`);
  }
}

/** The five largest of each row of a class vector. */
function topClasses(name: string, t: OutputTensor, labels: readonly string[], only: boolean): string[] {
  const classes = t.dims[t.dims.length - 1] ?? 0;
  if (t.dims.length > 2 || classes !== labels.length) {
    if (!only) return [];
    throw new UserError("labels", `there are ${labels.length} labels, but output '${name}' has shape [${t.dims.join(", ")}]`);
  }
  const all = values(t);
  const out: string[] = [];
  for (let row = 0; row * classes < all.length; row++) {
    if (all.length > classes) out.push(`  row ${row}`);
    const ranked = all
      .slice(row * classes, (row + 1) * classes)
      .map((v, i) => [v, i] as const)
      .sort((a, b) => b[0] - a[0]);
    for (const [v, i] of ranked.slice(0, 5)) out.push(`  ${v.toPrecision(5).padStart(10)}  ${labels[i]}`);
  }
  return out;
}
