import { UnsupportedError, UserError } from "../base/errors.ts";
import type { DeclaredPort, ImportOptions } from "../importer.ts";
import type { Input, Outputs, PortInfo } from "../index.ts";
import type { NumberArray } from "../runtime/values.ts";
import type { Log } from "./env.ts";
import type { Engine } from "./host.ts";

/**
 * Models that cannot be compiled before their inputs are there: an input's rank is not known, or an axis is a number among
 * the inputs. They are compiled when they run, for what is then given, and what was compiled is kept for the next such run.
 */

interface Interface {
  readonly inputs: readonly DeclaredPort[];
  readonly outputs: readonly DeclaredPort[];
}
/** A tensor as a run gives it. */
interface Fed {
  readonly data: NumberArray;
  readonly dims: readonly number[];
}
type Special = Pick<ImportOptions, "shapes" | "values">;

/** What a program is compiled for: each form knows more than the one before it. */
const forms = ["ranks", "values", "sizes"] as const;
type Form = (typeof forms)[number];

/** So many compiled programs are kept. */
const mostPrograms = 16;
/** Values of inputs with more elements are never compiled in. */
const mostElements = 64;

/** Does an input hold sizes, axes and the like, which decide what is computed? */
function isIndex(p: DeclaredPort): boolean {
  return (p.dtype === "i64" || p.dtype === "i32") && (p.dims === null || p.dims.length <= 1);
}

/** The form to begin with after compiling the model as it is has failed; null where no form helps, or the fault is another one. */
export function specialForm({ inputs }: Interface, fault: unknown): Form | null {
  const unranked = inputs.some((p) => p.dims === null);
  if (fault instanceof UserError) return unranked && fault.code === "shape" ? "ranks" : null;
  if (!(fault instanceof UnsupportedError) || fault.code !== "unsupported-ops") return null;
  // Ops that there are not will not be there later either.
  if (fault.items.some((i) => i.includes("no mapping for"))) return null;
  if (unranked) return "ranks";
  if (inputs.some(isIndex)) return "values";
  return inputs.some((p) => p.dims?.some((d) => typeof d !== "number")) ? "sizes" : null;
}

/** An engine that compiles when it runs. */
export class SpecialEngine implements Engine {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly declared: readonly DeclaredPort[];
  private form: Form;
  private readonly compile: (given: Special) => Promise<Engine>;
  private readonly log: Log;
  /** The one used last is the last. */
  private readonly programs = new Map<string, Engine>();

  constructor({ inputs, outputs }: Interface, form: Form, compile: (given: Special) => Promise<Engine>, log: Log) {
    this.declared = inputs;
    this.inputs = inputs.map(portOf);
    this.outputs = outputs.map(portOf);
    this.form = form;
    this.compile = compile;
    this.log = log;
  }

  async run(inputs: Readonly<Record<string, Input>>): Promise<Outputs> {
    const fed = inputs as Readonly<Record<string, Fed>>;
    const program = await this.programFor(fed);
    const wanted = program.inputs.map((p) => [p.name, fed[p.name] as Input]);
    return program.run(Object.fromEntries(wanted));
  }

  private async programFor(fed: Readonly<Record<string, Fed>>): Promise<Engine> {
    for (;;) {
      const given = this.givenFor(fed);
      const key = JSON.stringify(given, (_, v) => (v instanceof Uint8Array ? [...v] : v));
      const old = this.programs.get(key);
      if (old !== undefined) {
        this.programs.delete(key);
        this.programs.set(key, old);
        return old;
      }
      try {
        return this.keep(key, await this.compile(given));
      } catch (e) {
        const next = forms[forms.indexOf(this.form) + 1];
        if (next === undefined || !(e instanceof UnsupportedError || (e instanceof UserError && e.code === "shape"))) throw e;
        this.form = next;
      }
    }
  }

  private keep(key: string, program: Engine): Engine {
    this.programs.set(key, program);
    const [oldest] = this.programs;
    if (this.programs.size > mostPrograms && oldest !== undefined) {
      this.log.warning(
        `the model was compiled more than ${mostPrograms} times, for inputs that differ: see docs/ort.md on models that are compiled when they run`,
      );
      oldest[1].dispose();
      this.programs.delete(oldest[0]);
    }
    return program;
  }

  /** What this run tells the compiler. */
  private givenFor(fed: Readonly<Record<string, Fed>>): Special {
    const shapes: Record<string, readonly (number | string)[]> = {};
    const values: Record<string, { dims: readonly number[]; bytes: Uint8Array }> = {};
    for (const [k, p] of this.declared.entries()) {
      const { data, dims } = fed[p.name] as Fed;
      if (this.form !== "ranks" && isIndex(p) && data.length <= mostElements)
        values[p.name] = { dims, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
      else if (this.form === "sizes") shapes[p.name] = dims;
      else if (p.dims === null) shapes[p.name] = dims.map((_, i) => `input_${k}_size_${i}`);
    }
    return { shapes, values };
  }

  info(): ReturnType<Engine["info"]> {
    return [...this.programs.values()].at(-1)?.info() ?? { threads: 1, threads_reason: "the model is compiled when it runs" };
  }

  dispose(): void {
    for (const p of this.programs.values()) p.dispose();
    this.programs.clear();
  }
}

/** A size that is not known stands by no name. */
function portOf(p: DeclaredPort): PortInfo {
  if (p.dtype === null) throw new UnsupportedError("ort-type", `'${p.name}' is not a tensor of a type that is supported`);
  return { name: p.name, dtype: p.dtype, dims: (p.dims ?? []).map((d) => d ?? "") };
}
