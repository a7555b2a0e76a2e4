import { describe, expect, test } from "vitest";
import { f32, u8 } from "../src/base/dtype.ts";
import { TilewrightError } from "../src/base/errors.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { dtypeNamed, domainSchemas, dtypesOf } from "./support/coverage.ts";
import { type DomainModel, domainModel, domainOps } from "./support/domain-models.ts";
import { type AttrSpec, type ModelSpec, type ValueSpec, model } from "./support/onnx.ts";

/** The op's model in its usual dtype. */
function usual(op: string): DomainModel {
  const all = dtypesOf(op);
  const d = all.includes("f32") ? f32 : all.includes("u8") ? u8 : dtypeNamed(all[0] ?? "f32");
  const m = d === null ? null : domainModel(op, d);
  if (m === null) throw new Error(`no model of ${op}`);
  return m;
}

/** What importing gives: null where it goes through, else what is wrong with the error (which has to name the node), or its message. */
function outcome(spec: ModelSpec): { readonly message: string; readonly isClear: boolean } | null {
  try {
    importOnnx(model(spec));
    return null;
  } catch (e) {
    const { message } = e as Error;
    const known = e instanceof TilewrightError && e.name !== "InternalError";
    return { message, isClear: known && (/'n'/.test(message) || (e as { items?: string[] }).items?.some((i) => i.includes("'n'")) === true) };
  }
}

/** Complaints about mutants that must fail, or may, with a clear error. */
function complaints(mutants: Iterable<readonly [what: string, spec: ModelSpec]>, mustFail: boolean): string[] {
  const out: string[] = [];
  for (const [what, spec] of mutants) {
    const o = outcome(spec);
    if (o === null ? mustFail : !o.isClear) out.push(`${what}: ${o === null ? "goes through" : o.message}`);
  }
  return out;
}

function withNode(m: DomainModel, change: Partial<DomainModel["spec"]["nodes"][0]>): ModelSpec {
  return { ...m.spec, nodes: [{ ...m.spec.nodes[0], ...change }] };
}

/** Operands that their schemas want, but without which a node has the meaning that it has elsewhere: zero points are 0. */
const zeroPoints: Readonly<Record<string, readonly number[]>> = {
  QGemm: [2, 5],
  QLinearConcat: [1],
  QLinearGlobalAveragePool: [2, 4],
  QLinearSoftmax: [4],
  QLinearWhere: [3, 6, 8],
  QLinearConv: [2, 5],
};

/** The model without one of its operands, for each that the schema wants. */
function* withoutOperands(op: string, m: DomainModel): Iterable<readonly [string, ModelSpec]> {
  const given = m.spec.nodes[0].in;
  for (const [i, type] of (domainSchemas[op]?.inputs ?? []).entries()) {
    if (/[?*]$/.test(type) || !given[i] || zeroPoints[op.split(".").at(-1) ?? ""]?.includes(i)) continue;
    yield [`without operand ${i}`, withNode(m, { in: given.with(i, "") })];
    yield [`without operands from ${i} on`, withNode(m, { in: given.slice(0, i) })];
  }
}

/** The model with an operand of another rank, or of no elements. */
function* otherShapes(m: DomainModel): Iterable<readonly [string, ModelSpec]> {
  for (const [name, [dtype, dims]] of Object.entries(m.spec.inputs ?? {})) {
    const shapes: readonly number[][] = [
      [],
      [...(dims as number[]), 2],
      (dims as number[]).slice(1),
      [3, ...(dims as number[])],
      (dims as number[]).map((n) => n + 1),
    ];
    for (const s of [...shapes, (dims as number[]).map(() => 0)])
      yield [`${name} of [${s.join(", ")}]`, { ...m.spec, inputs: { ...m.spec.inputs, [name]: [dtype, s] as ValueSpec } }];
  }
}

const odd: Readonly<Record<string, readonly AttrSpec[]>> = {
  int: [-1, 0, 3, 7, 2 ** 31, 2 ** 53, "text", { floats: [0.5] }],
  ints: [[], [-1], [2 ** 40, 2 ** 40], [0, 0, 0, 0, 0, 0, 0], "text"],
  float: [{ float: Number.NaN }, { float: Number.POSITIVE_INFINITY }, { float: -1 }, "text", 3],
  floats: [{ floats: [] }, { floats: [Number.NaN] }, { floats: [1, 2, 3, 4, 5, 6, 7, 8, 9] }, 3],
  string: ["", "NONSENSE", "\u0000", 3],
  strings: [{ strings: [] }, { strings: ["x"] }, 3],
  tensor: [{ tensor: { dtype: "f32", dims: [0], values: [] } }, { tensor: { dtype: "f32", dims: [2, 2], values: [9, -9, Number.NaN, 0.5] } }, 3],
};

/** The model with each attribute of the schema at values that make little sense. */
function* otherAttributes(op: string, m: DomainModel): Iterable<readonly [string, ModelSpec]> {
  const given = m.spec.nodes[0].attrs ?? {};
  for (const [name, type] of Object.entries(domainSchemas[op]?.attributes ?? {}))
    for (const value of odd[type.replace("?", "")] ?? [])
      yield [`${name} = ${JSON.stringify(value)}`, withNode(m, { attrs: { ...given, [name]: value } })];
}

/** The model without each attribute that the schema wants. */
function* withoutAttributes(op: string, m: DomainModel): Iterable<readonly [string, ModelSpec]> {
  const given = m.spec.nodes[0].attrs ?? {};
  for (const [name, type] of Object.entries(domainSchemas[op]?.attributes ?? {}))
    if (!type.endsWith("?") && name in given)
      yield [`without ${name}`, withNode(m, { attrs: Object.fromEntries(Object.entries(given).filter(([k]) => k !== name)) })];
}

const described = domainOps.filter((op) => domainSchemas[op] !== undefined);

describe("wrong nodes of com.microsoft and ai.onnx.ml are refused in words, or mean something", () => {
  test.each(described)("%s", (op) => {
    const m = usual(op);
    expect(outcome(m.spec)).toBeNull();
    expect(complaints(withoutOperands(op, m), true)).toEqual([]);
    expect(complaints(otherShapes(m), false)).toEqual([]);
    expect(complaints(otherAttributes(op, m), false)).toEqual([]);
    expect(complaints(withoutAttributes(op, m), false)).toEqual([]);
  });
});
