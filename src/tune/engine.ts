/**
 * What runs candidates: behind this face are a worker of the real engine (`src/node/measure.ts`) and, in tests, one whose
 * clock does not depend on the machine.
 */
export interface Runnable {
  readonly module: Uint8Array;
  /** Pages of its memory. */
  readonly pages: number;
  /** Weights and inputs, with their byte addresses. */
  readonly fills: readonly { readonly at: number; readonly bytes: Uint8Array }[];
  readonly outputs: readonly { readonly at: number; readonly bytes: number }[];
  /** Arguments of `main`. */
  readonly symbols: readonly number[];
  /** For a module whose memory threads share: their number, and where the workers' scratch memory begins, with the bytes of each. */
  readonly threads: { readonly count: number; readonly scratch: number; readonly scratchBytes: number } | null;
}

export type Loaded =
  | { readonly kind: "ran"; readonly id: number; readonly outputs: readonly Uint8Array[] }
  /** It trapped or could not be instantiated; or it did not come to an end in time. */
  | { readonly kind: "trap" | "hang"; readonly why: string };

export interface Engine {
  /** Instantiates a module, fills its memory, runs `main` once and gives the outputs. It stays until `unload`. */
  load(r: Runnable): Promise<Loaded>;
  /**
   * Times what was loaded, in turns: first each until the engine's optimised code is in place, then `rounds` times one after
   * the other, the order changing. Milliseconds of one run, by id and round; null where one did not come to an end.
   */
  time(ids: readonly number[], rounds: number): Promise<readonly (readonly number[])[] | null>;
  unload(id: number): void;
  close(): Promise<void>;
}
