import { hashText } from "../base/hash.ts";
import type { Compiled } from "../compile.ts";
import { evaluateSize } from "../loop/interpret.ts";
import { emitModule, initialPages, sharedLaunches, threadBytes, weightsBase } from "../targets/wasm/module.ts";
import { weightBytes, writeWeights } from "../targets/wasm/weights.ts";
import type { Runnable } from "./engine.ts";

export interface PackageOptions {
  readonly relaxed: boolean;
  /** Threads to run on; where no launch is worth sharing there is one. */
  readonly threads: number;
  /** Sizes of the program's symbols. */
  readonly symbols: readonly number[];
  /** Outputs to give back, by their number, with the bytes of their buffers. */
  readonly results: readonly { readonly port: number; readonly bytes: number }[];
}

/** A compiled function as an engine runs it. */
export interface Package {
  /** Equal for equal code. */
  readonly codeId: string;
  /** Bytes of weights and arena. */
  readonly memoryBytes: number;
  /** The module with its memory, given what the buffers of the inputs hold. Packed constants are made here, ahead of time. */
  readonly runnable: (inputs: readonly Uint8Array[]) => Promise<Runnable>;
}

const pageBytes = 65536;
const aligned = (n: number) => Math.ceil(n / 64) * 64;

/** Emits a program and says where in its memory everything lies. */
export function packageProgram({ sc, program, weights: sources, prepare }: Compiled, o: PackageOptions): Package {
  const { relaxed, symbols } = o;
  const weights = weightBytes(program);
  const shared = o.threads > 1 && sharedLaunches(program).length > 0;
  const module = emitModule(sc, [{ program, prefix: "" }], { relaxed, shared, weightBytes: weights });
  const base = { weights: weightsBase, arena: weightsBase + weights };
  const size = (e: Parameters<typeof evaluateSize>[1]) => evaluateSize(program, e, base, symbols);
  const arena = size(program.arenaBytes);
  // Workers' scratch memory lies above the arena.
  const scratch = aligned(base.arena + arena) + 64;
  const threads = shared ? { count: o.threads, scratch, scratchBytes: size(threadBytes(sc, program)) } : null;
  const end = threads === null ? base.arena + arena : scratch + (threads.count - 1) * threads.scratchBytes;
  const outputs = o.results.flatMap(({ port, bytes }) => {
    const p = program.outputs[port];
    return p === undefined ? [] : [{ at: size(p.address), bytes }];
  });
  const places = program.inputs.map((p) => size(p.address));
  return {
    codeId: hashText(Array.from(module, (b) => String.fromCharCode(b)).join("")),
    memoryBytes: weights + arena,
    runnable: async (inputs) => {
      const bytes = new Uint8Array(weights);
      await writeWeights(sc, program, sources, prepare, (offset, b) => bytes.set(b, offset));
      const fills = inputs.map((b, i) => ({ at: places[i] as number, bytes: b }));
      return {
        module,
        pages: Math.max(initialPages(program, weights), Math.ceil(end / pageBytes) + 1),
        fills: [...(weights === 0 ? [] : [{ at: weightsBase, bytes }]), ...fills],
        outputs,
        symbols,
        threads,
      };
    },
  };
}
