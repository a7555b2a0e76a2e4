import { type DType, arrayOf } from "../../src/base/dtype.ts";
import { UserError } from "../../src/base/errors.ts";
import type { Compiled } from "../../src/compile.ts";
import { type HostTensor, hostFrom, hostFromBytes, hostToBytes, sizeOf } from "../../src/graph/host.ts";
import { bindSymbols } from "../../src/graph/interpret.ts";
import type { TensorType } from "../../src/graph/op.ts";
import { artifactOf } from "../../src/load.ts";
import { evaluateDim } from "../../src/base/dim.ts";
import { evaluateSize, interpretProgram } from "../../src/loop/interpret.ts";
import type { Program } from "../../src/loop/ir.ts";
import { type NumberArray, startModel } from "../../src/runtime/model.ts";
import type { Random } from "../../src/schedule/random.ts";
import { weightBytes, writeWeights } from "../../src/targets/wasm/weights.ts";

/** Random values of a type, drawn from `[low, high)`; integers include `low` and not `high`. */
export function randomTensor(
  t: TensorType,
  random: Random,
  [low, high]: readonly [number, number] = [-2, 2],
  symbols: ReadonlyMap<string, number> = new Map(),
): HostTensor {
  const dims = t.dims.map((d) => evaluateDim(d, symbols));
  return hostFrom(t.dtype, dims, () => {
    const v = low + (high - low) * random();
    return t.dtype.isFloat ? v : Math.floor(v);
  });
}

/** Where the interpreter puts the weights; not 0, so that a forgotten base address shows. */
const weightsAt = 1024;

function symbolValues(p: Program, inputs: readonly HostTensor[]): number[] {
  const env = bindSymbols(
    p.inputs,
    inputs.map((t) => t.dims),
  );
  return p.symbols.map((s) => env.get(s.name) as number);
}

/**
 * Runs a compiled program in the loop interpreter, on memory of exactly the planned size, or of what it asks for while it runs.
 * @throws UserError `size`, as the runtime does
 */
export async function runInInterpreter(c: Compiled, inputs: readonly HostTensor[], room = 0): Promise<HostTensor[]> {
  const { program: p, sc } = c;
  const base = { weights: weightsAt, arena: weightsAt + weightBytes(p) };
  const symbols = symbolValues(p, inputs);
  const size = Math.max(evaluateSize(p, p.arenaBytes, base, symbols), 64 * room);
  const bytes = new ArrayBuffer(Math.ceil((base.arena + size) / 8) * 8);
  const memory = new Uint8Array(bytes);
  await writeWeights(sc, p, c.weights, c.prepare, (offset, b) => memory.set(b, weightsAt + offset));
  p.inputs.forEach((x, i) => {
    memory.set(hostToBytes(inputs[i] as HostTensor), evaluateSize(p, x.address, base, symbols));
  });
  const { fault, data } = interpretProgram(p, { bytes, ...base }, symbols, room);
  if (fault !== null) {
    const told = p.faults[fault.number];
    if (told?.room === true && fault.value > room) return runInInterpreter(c, inputs, fault.value);
    throw new UserError("size", told?.text.replace("{}", String(fault.value)) ?? `there is no fault ${fault.number}`);
  }
  const values = [...symbols, ...data];
  const env = new Map([...p.symbols, ...p.dataSymbols.map((d) => d.symbol)].map((s, i) => [s.name, values[i] as number]));
  return p.outputs.map((o) => {
    const at = evaluateSize(p, o.address, base, symbols, data);
    const dims = o.dims.map((d) => evaluateDim(d, env));
    return hostFromBytes(o.dtype, dims, memory.slice(at, at + o.dtype.bytes(sizeOf(dims))));
  });
}

/** Runs a compiled program as WASM, in the plain or the relaxed variant. */
export async function runInWasm(c: Compiled, inputs: readonly HostTensor[], relaxed: boolean): Promise<HostTensor[]> {
  const inputNames = inputs.map((_, i) => `in${i}`);
  const outputNames = c.program.outputs.map((_, i) => `out${i}`);
  const a = artifactOf(c, { name: "test", sourceHash: "", inputNames, outputNames }, [{ relaxed }]);
  const module = await WebAssembly.compile(a.modules[0] as BufferSource);
  const model = await startModel(a.manifest, {
    module,
    relaxed,
    writeWeights: (target) => a.writeWeights((offset, bytes) => target.set(bytes, offset)),
  });
  const given = Object.fromEntries(inputs.map((t, i) => [`in${i}`, { data: typedArray(t), dims: t.dims }]));
  const out = await model.run(given);
  return outputNames.map((n, i) => {
    const t = out[n];
    const dtype = c.program.outputs[i]?.dtype as DType;
    if (t === undefined) throw new Error(`no output '${n}'`);
    const { buffer, byteOffset, byteLength } = t.data as Uint8Array;
    return hostFromBytes(dtype, [...t.dims], new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer));
  });
}

/** A tensor's storage, as the runtime takes it. */
function typedArray(t: HostTensor): NumberArray {
  const bytes = hostToBytes(t);
  return new (arrayOf(t.dtype))(bytes.buffer as ArrayBuffer, 0, bytes.byteLength / t.dtype.byteWidth);
}
