import { InternalError } from "../../base/errors.ts";
import type { Level } from "./levels.ts";
import { scalarHelper } from "./prelude-scalar.ts";
import { vectorHelper, vectorName } from "./prelude-vector.ts";

/** A function or type that emitted code uses. */
export interface Helper {
  readonly text: string;
  /** Others that must stand before it. */
  readonly needs: readonly string[];
}

/**
 * The small functions and types before the kernels: `static inline`, none of them a macro, and only those that are used.
 * Those with vectors stand apart, for compilers that know them.
 */
export class Prelude {
  private readonly scalar = new Map<string, string>();
  private readonly vector = new Map<string, string>();

  /** A helper without vectors; gives its name. */
  use(name: string): string {
    if (!this.scalar.has(name)) {
      const h = scalarHelper(name) ?? unknown(name);
      for (const n of h.needs) this.use(n);
      this.scalar.set(name, h.text);
    }
    return name;
  }

  /** A helper with vectors, of so many lanes, for a level; gives its name. */
  useVector(name: string, lanes: number, level: Level): string {
    const full = vectorName(name, lanes, level);
    if (!this.vector.has(full)) {
      const h = vectorHelper(name, full, lanes, level) ?? unknown(full);
      for (const n of h.needs) this.useVector(n, lanes, level);
      this.vector.set(full, h.text);
    }
    return full;
  }

  scalarText(): string {
    return [...this.scalar.values()].join("\n");
  }
  vectorText(): string {
    return [...this.vector.values()].join("\n");
  }
}

function unknown(name: string): never {
  throw new InternalError("c", `the prelude has no '${name}'`);
}
