import { UserError } from "../../base/errors.ts";
import type { Capabilities } from "../../base/machine.ts";

/** The kinds of machine that one C artifact holds code for, from any C11 compiler's on. */
export type LevelName = "portable" | "sse42" | "avx2" | "avx512";

/** What C code of a level may use. */
export interface Level {
  readonly name: LevelName;
  /** Its number in the C code: `tw_cpu_level` gives the highest that the CPU has. */
  readonly index: 0 | 1 | 2 | 3;
  /** Instruction sets of its functions, as compilers name them; null for what every machine has. */
  readonly target: string | null;
  /** Lanes of its widest vector of 32-bit elements; 1: no vectors. */
  readonly lanes: number;
  /** Has it a multiply-add with one rounding? */
  readonly fma: boolean;
  /** Are truth values of lanes bits of a mask register, not lanes of ones? */
  readonly masks: boolean;
}

/** All levels, widest first. */
export const levels: readonly Level[] = [
  { name: "avx512", index: 3, target: "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma", lanes: 16, fma: true, masks: true },
  { name: "avx2", index: 2, target: "avx2,fma", lanes: 8, fma: true, masks: false },
  { name: "sse42", index: 1, target: "sse4.2", lanes: 4, fma: false, masks: false },
  { name: "portable", index: 0, target: null, lanes: 1, fma: false, masks: false },
];

/** The level whose code a machine record describes. @throws UserError `level` when there is none of its name */
export function levelOf(machine: Pick<Capabilities, "name">): Level {
  const found = levels.find((l) => l.name === machine.name);
  if (found === undefined)
    throw new UserError("level", `no level of C code is called '${machine.name}'; there are: ${levels.map((l) => l.name).join(", ")}`);
  return found;
}
