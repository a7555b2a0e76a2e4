import { UnsupportedError, UserError } from "../base/errors.ts";
import type { DeclaredPort, ImportOptions } from "../importer.ts";
import type { Input, Outputs, PortInfo } from "../index.ts";
import type { NumberArray } from "../runtime/values.ts";
import type { Log } from "./env.ts";
import type { Engine } from "./host.ts";

/**
 * Models that cannot be compiled for all that their inputs may be: an input's rank is not known, or an axis is a number among
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
const forms = ["nothing", "ranks", "values", "sizes"] as const;
export type Form = (typeof forms)[number];

/** So many compiled programs are kept. */
const mostPrograms = 16;
/** Values of inputs with more elements are never compiled in. */
const mostElements = 64;

/** Does an input hold sizes, axes and the like, which decide what is computed? */
function isIndex(p: DeclaredPort): boolean {
  return (p.dtype === "i64" || p.dtype === "i32") && (p.dims === null || p.dims.length <= 1);
}

/** May runs of the model have to be compiled for, though it can be compiled as it is? Its runs then tell. */
export function mayBeSpecial({ inputs }: Interface): boolean {
  return inputs.some(isIndex);
}

/** The form to begin with after compiling the model as it is has failed; null where no form helps, or the fault is another one. */
export function specialForm({ inputs }: Interface, fault: unknown): Form | null {
  const unranked = inputs.some((p) => p.dims === null);
  const aboutRanks = fault instanceof UserError && fault.code === "shape" && unranked;
  if (!aboutRanks && !(fault instanceof UnsupportedError && fault.code === "unsupported-ops")) return null;
  if (unranked) return "ranks";
  if (inputs.some(isIndex)) return "values";
  return inputs.some((p) => p.dims?.some((d) => typeof d !== "number")) ? "sizes" : null;
}

/** Can a fault be one that a form which knows more has not? The runtime has an error class of its own, alike. */
function isAboutSizes(e: unknown): boolean {
  const { name, code } = e as Partial<UserError>;
  return e instanceof UnsupportedError || (name === "UserError" && (code === "shape" || code === "size"));
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

  /** @param first what the model was compiled to as it is; null where that failed */
  constructor({ inputs, outputs }: Interface, form: Form, first: Engine | null, compile: (given: Special) => Promise<Engine>, log: Log) {
    this.declared = inputs;
    this.inputs = first?.inputs ?? inputs.map(portOf);
    this.outputs = first?.outputs ?? outputs.map(portOf);
    this.form = form;
    this.compile = compile;
    this.log = log;
    if (first !== null) this.programs.set(keyOf({}), first);
  }

  async run(inputs: Readonly<Record<string, Input>>): Promise<Outputs> {
    const fed = inputs as Readonly<Record<string, Fed>>;
    for (;;) {
      try {
        const program = await this.programFor(fed);
        return await program.run(Object.fromEntries(program.inputs.map((p) => [p.name, fed[p.name] as Input])));
      } catch (e) {
        const next = forms[forms.indexOf(this.form) + 1];
        if (next === undefined || !isAboutSizes(e)) throw e;
        this.form = next;
      }
    }
  }

  private async programFor(fed: Readonly<Record<string, Fed>>): Promise<Engine> {
    const given = this.givenFor(fed);
    const key = keyOf(given);
    const old = this.programs.get(key);
    if (old === undefined) return this.keep(key, await this.compile(given));
    this.programs.delete(key);
    this.programs.set(key, old);
    return old;
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
    if (this.form === "nothing") return {};
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

/** Tells programs apart. */
function keyOf(given: Special): string {
  return JSON.stringify(given, (_, v) => (v instanceof Uint8Array ? [...v] : v));
}

/** A size that is not known stands by no name. */
function portOf(p: DeclaredPort): PortInfo {
  if (p.dtype === null) throw new UnsupportedError("ort-type", `'${p.name}' is not a tensor of a type that is supported`);
  return { name: p.name, dtype: p.dtype, dims: (p.dims ?? []).map((d) => d ?? "") };
}
