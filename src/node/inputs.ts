import path from "node:path";
import { UserError } from "../base/errors.ts";
import { type InputValue, type KnownSizes, pictureInput, randomInput, randomSource, readInput } from "../data/inputs.ts";
import type { Normalization } from "../data/pictures.ts";
import type { ModelManifest, PortInfo } from "../runtime/model.ts";
import { readFile } from "./files.ts";
import { decodePicture } from "./images.ts";

const pictures = [".png", ".jpg", ".jpeg"];

/** Reads an input's file by its extension. @throws UserError for what cannot be read or does not fit */
function readInputFile(p: PortInfo, file: string, sizes: KnownSizes, norm: Normalization): InputValue {
  const bytes = readFile(file);
  if (!pictures.includes(path.extname(file).toLowerCase())) return readInput(p, file, bytes, sizes);
  return pictureInput(p, file, () => decodePicture(bytes, file), sizes, norm);
}

export interface InputFlags {
  readonly input?: readonly string[];
  readonly random?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** All inputs of a model: files where they are given, else random ones if a seed is. @throws UserError that lists the inputs */
export function gatherInputs(m: Pick<ModelManifest, "inputs">, flags: InputFlags, sizes: KnownSizes): Record<string, InputValue> {
  const list = m.inputs.map((p) => `  ${p.name}: ${p.dtype}[${p.dims.join(", ")}]`).join("\n");
  const files = new Map<string, string>();
  for (const text of flags.input ?? []) {
    // A name may hold '=' itself: the longest one that fits wins.
    const port = m.inputs.filter((p) => text.startsWith(`${p.name}=`)).sort((a, b) => b.name.length - a.name.length)[0];
    const alone = m.inputs.length === 1 && !text.includes("=") ? m.inputs[0] : undefined;
    const found = port ?? alone;
    if (found === undefined) throw new UserError("unknown-input", `--input ${text}: expected NAME=FILE with the name of an input:\n${list}`);
    files.set(found.name, port === undefined ? text : text.slice(found.name.length + 1));
  }
  const missing = m.inputs.filter((p) => !files.has(p.name));
  if (missing.length > 0 && flags.random === undefined) {
    throw new UserError(
      "missing-input",
      `no value for ${missing.map((p) => `'${p.name}'`).join(", ")}; give --input NAME=FILE for each, or --random SEED. The inputs are:\n${list}`,
    );
  }
  const random = randomSource(flags.random ?? 0);
  const norm = { mean: flags.mean ?? [], std: flags.std ?? [] };
  return Object.fromEntries(
    m.inputs.map((p) => {
      const file = files.get(p.name);
      return [p.name, file === undefined ? randomInput(p, sizes, random) : readInputFile(p, file, sizes, norm)];
    }),
  );
}
