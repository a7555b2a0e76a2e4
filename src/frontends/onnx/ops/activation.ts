import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import type { Formula } from "./formula.ts";

/** An activation of a recurrent cell, on values of any dims. */
export type Activation = (f: Formula, x: Value) => Value;

/** What activations take beside x, and their values where the node gives none. */
interface Kind {
  readonly alpha: number | null;
  readonly beta: number | null;
  readonly make: (alpha: number, beta: number) => Activation;
}

const plain = (op: string): Kind => ({ alpha: null, beta: null, make: () => (f, x) => f.op(op, x) });

const kinds: Readonly<Record<string, Kind>> = {
  tanh: plain("tanh"),
  sigmoid: plain("sigmoid"),
  relu: { alpha: null, beta: null, make: () => (f, x) => f.max(x, 0) },
  affine: { alpha: 1, beta: 0, make: (alpha, beta) => (f, x) => f.add(f.mul(x, alpha), beta) },
  leakyrelu: { alpha: 0.01, beta: null, make: (alpha) => (f, x) => f.select(f.op("lt", x, 0), f.mul(x, alpha), x) },
  thresholdedrelu: { alpha: 1, beta: null, make: (alpha) => (f, x) => f.select(f.op("ge", x, alpha), x, 0) },
  scaledtanh: { alpha: 1, beta: 1, make: (alpha, beta) => (f, x) => f.mul(f.op("tanh", f.mul(x, beta)), alpha) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, make: (alpha, beta) => (f, x) => f.clamp(f.add(f.mul(x, alpha), beta), 0, 1) },
  elu: {
    alpha: 1,
    beta: null,
    make: (alpha) => (f, x) => f.select(f.op("ge", x, 0), x, f.mul(f.sub(f.op("exp", f.min(x, 0)), 1), alpha)),
  },
  softsign: { alpha: null, beta: null, make: () => (f, x) => f.div(x, f.add(f.op("abs", x), 1)) },
  // max(x, 0) + log(1 + exp(-|x|)), which does not overflow
  softplus: {
    alpha: null,
    beta: null,
    make: () => (f, x) => f.add(f.max(x, 0), f.op("log", f.add(f.op("exp", f.op("neg", f.op("abs", x))), 1))),
  },
};

/**
 * The activations that a recurrent node names, `defaults` where it names none. Its lists of alphas and betas have one entry
 * for each activation, or one for each that takes it.
 * @throws UserError `invalid-model` for a name that ONNX has not, or a wrong number of them
 */
export function activations(c: NodeContext, defaults: readonly string[]): Activation[] {
  const strings = c.attribute("activations")?.strings.map((s) => new TextDecoder().decode(s)) ?? [];
  const names = strings.length === 0 ? defaults : strings;
  if (names.length !== defaults.length) c.fail(`${names.length} activations, expected ${defaults.length}`);
  const chosen = names.map((n) => kinds[n.toLowerCase()] ?? c.fail(`activation '${n}', expected one of ${Object.keys(kinds).join(", ")}`));
  const parameter = (which: "alpha" | "beta"): number[] => {
    const given = c.attribute(`activation_${which}`)?.floats ?? [];
    let next = 0;
    return chosen.map((k, i) => {
      const at = given.length === chosen.length ? i : k[which] === null ? -1 : next++;
      return given[at] ?? k[which] ?? 0;
    });
  };
  const [alphas, betas] = [parameter("alpha"), parameter("beta")];
  return chosen.map((k, i) => k.make(alphas[i] as number, betas[i] as number));
}

/** One activation by its name, with its own parameters where none are given; null for a name that ONNX has not. */
export function activation(name: string, alpha: number | undefined, beta: number | undefined): Activation | null {
  const key = name.toLowerCase();
  const kind = Object.hasOwn(kinds, key) ? kinds[key] : undefined;
  return kind === undefined ? null : kind.make(alpha ?? kind.alpha ?? 0, beta ?? kind.beta ?? 0);
}
