import { UserError } from "../base/errors.ts";
import { type Block, type KeptPlace, KeptTensor } from "./kept.ts";
import { type InputData, type PortInfo, checkData, checkDims, describePorts, shapeText } from "./values.ts";

/** What callers give to `run`, checked against a model's signature; the same for every target. */

/** A value given to `run`: bare data where all dims are known, data with dims where one is symbolic, or a kept output. */
export type Input = InputData | { readonly data: InputData; readonly dims: readonly number[] } | KeptTensor;

export interface SymbolInfo {
  readonly name: string;
  readonly min: number;
  readonly max: number | null;
  readonly multiple: number;
}

/** What a model takes and gives: part of its manifest. */
export interface Signature {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly symbols: readonly SymbolInfo[];
}

/** An input that passed the checks: its data, or where it is kept. */
export interface Given {
  readonly data: InputData | null;
  readonly kept: Block | null;
  readonly dims: readonly number[];
}

/**
 * The inputs of a run in the model's order. `place` is where the model keeps tensors.
 * @throws UserError for a missing or unknown input, an unknown output to keep, and an input of a wrong dtype, size or shape
 */
export function checkInputs(m: Signature, values: Readonly<Record<string, Input>>, keep: readonly string[], place: KeptPlace): Given[] {
  for (const name of Object.keys(values)) {
    if (!m.inputs.some((p) => p.name === name))
      throw new UserError("unknown-input", `there is no input '${name}'; the inputs are: ${describePorts(m.inputs)}`);
  }
  for (const name of keep) {
    if (!m.outputs.some((p) => p.name === name))
      throw new UserError("unknown-output", `there is no output '${name}' to keep; the outputs are: ${describePorts(m.outputs)}`);
  }
  return m.inputs.map((p) => checkInput(m, p, Object.hasOwn(values, p.name) ? values[p.name] : undefined, place));
}

function checkInput(m: Signature, p: PortInfo, value: Input | undefined, place: KeptPlace): Given {
  if (value === undefined || value === null)
    throw new UserError("missing-input", `input '${p.name}' is missing; the inputs are: ${describePorts(m.inputs)}`);
  if (value instanceof KeptTensor) {
    if (value.region !== place) throw new UserError("kept", `input '${p.name}': this tensor was kept by another model`);
    if (value.block === null) throw new UserError("kept", `input '${p.name}': this kept tensor was disposed of`);
    if (value.dtype !== p.dtype) throw new UserError("dtype", `input '${p.name}': expected ${p.dtype}, got a kept ${value.dtype}`);
    checkDims(p, value.dims);
    return { data: null, kept: value.block, dims: value.dims };
  }
  const withDims = typeof value === "object" && "data" in value && "dims" in value;
  const data = withDims ? value.data : (value as InputData);
  const known = p.dims.every((d) => typeof d === "number");
  if (!withDims && !known) throw new UserError("shape", `input '${p.name}' has symbolic dims ${shapeText(p.dims)}: give { data, dims }`);
  const dims = withDims ? value.dims : (p.dims as readonly number[]);
  checkDims(p, dims);
  checkData(p, data, dims);
  return { data, kept: null, dims };
}

/**
 * The symbols' values, in the signature's order. `dimOf` computes a dimension of an input from them.
 * @throws UserError `shape` for a size out of its range, and for sizes that contradict one another
 */
export function bindSymbols(
  m: Signature,
  given: readonly Given[],
  dimOf: (input: number, dim: number, values: readonly number[]) => number,
): number[] {
  const values = m.symbols.map((s) => {
    for (const [i, p] of m.inputs.entries()) {
      const d = p.dims.indexOf(s.name);
      if (d >= 0) return given[i]?.dims[d] as number;
    }
    throw new UserError("shape", `no input tells the size of '${s.name}'`);
  });
  m.symbols.forEach((s, i) => {
    const v = values[i] as number;
    if (v < s.min || (s.max !== null && v > s.max) || v % s.multiple !== 0) {
      throw new UserError(
        "shape",
        `'${s.name}' is ${v}, but must lie in [${s.min}, ${s.max ?? "∞"}]${s.multiple === 1 ? "" : ` and be a multiple of ${s.multiple}`}`,
      );
    }
  });
  m.inputs.forEach((p, i) => {
    p.dims.forEach((d, k) => {
      if (typeof d !== "string") return;
      const expected = dimOf(i, k, values);
      if (expected !== given[i]?.dims[k])
        throw new UserError("shape", `input '${p.name}': dimension ${k} (${d}) must be ${expected}, got ${given[i]?.dims[k]}`);
    });
  });
  return values;
}
