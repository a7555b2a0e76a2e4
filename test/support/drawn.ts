import type { NodeProto } from "../../src/frontends/onnx/proto.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import { type Case, opsOf } from "./onnx-cases.ts";

// ONNX leaves open which random numbers an op draws: expected results are one draw of many. What holds for all of them is
// checked instead.

const drawing = ["Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"];

/** Do the results depend on random numbers? Dropout draws when it is told that it trains. */
export function isDrawn(c: Case): boolean {
  const ops = opsOf(c.proto);
  const trains = (n: NodeProto) => n.opType === "Dropout" && (n.inputs[2] ?? "") !== "";
  return drawing.some((o) => ops.has(o)) || c.proto.graph.nodes.some(trains);
}

/**
 * What is wrong with results of which each element is either 0 or, by chance, one that the first input decides (a constant or
 * a multiple of the input's); null when nothing is. The constant or factor is taken from the expected draw.
 */
export function drawnDifference(x: HostTensor, got: readonly HostTensor[], expected: readonly HostTensor[]): string | null {
  for (const [k, want] of expected.entries()) {
    const g = got[k];
    if (g === undefined || `${g.dtype}[${g.dims}]` !== `${want.dtype}[${want.dims}]`)
      return `output ${k}: ${g?.dtype}[${g?.dims}], expected ${want.dtype}[${want.dims}]`;
    if (want.data.length !== x.data.length) return `output ${k}: the rule for random results is about outputs like the first input`;
    const wrong = elementwise(x, g, want);
    if (wrong !== null) return `output ${k}: ${wrong}`;
  }
  return maskDifference(x, got);
}

function elementwise(x: HostTensor, got: HostTensor, want: HostTensor): string | null {
  const values = Array.from(want.data, Number);
  const kept = values.findIndex((v) => v !== 0);
  if (kept < 0) return null;
  const constant = values.every((v) => v === 0 || v === values[kept]);
  const factor = (values[kept] as number) / Number(x.data[kept]);
  const wrong = Array.from(got.data, Number).findIndex((v, i) => {
    const whole = constant ? (values[kept] as number) : factor * Number(x.data[i]);
    return v !== 0 && Math.abs(v - whole) > 1e-3 * Math.abs(whole);
  });
  if (wrong >= 0) return `element ${wrong} is ${got.data[wrong]}, which no draw gives`;
  // Six deviations of the difference of two draws; none where nothing is left to chance.
  const count = (data: Iterable<number | bigint>) => Array.from(data, Number).filter((v) => v !== 0).length;
  const [n, share] = [values.length, count(want.data) / values.length];
  const off = Math.abs(count(got.data) - count(want.data));
  return off > 6 * Math.sqrt(2 * n * share * (1 - share)) ? `${off} of ${n} elements more or fewer are 0 than expected` : null;
}

/** A second output of truth values says which elements of the first were kept. */
function maskDifference(x: HostTensor, [y, mask]: readonly HostTensor[]): string | null {
  if (y === undefined || mask?.dtype.kind !== "bool") return null;
  const wrong = Array.from(y.data, Number).findIndex((v, i) => (v !== 0) !== (Number(mask.data[i]) !== 0) && Number(x.data[i]) !== 0);
  return wrong < 0 ? null : `the mask is wrong at element ${wrong}`;
}
