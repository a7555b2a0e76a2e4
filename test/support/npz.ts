import { readFileSync } from "node:fs";
import { unzipSync } from "fflate";
import { type HostTensor, hostFromBytes } from "../../src/graph/host.ts";
import { readNpy } from "../../src/data/npy.ts";

/** Results that another runtime got from a model, `MODEL.golden.npz` beside it. */
export interface Golden {
  /** In the order of the model's inputs, by name. */
  readonly inputs: ReadonlyMap<string, HostTensor>;
  readonly outputs: ReadonlyMap<string, HostTensor>;
}

/** Reads `in_K`, `out_K` and `names` (JSON in a NumPy string); null where they hold strings. */
export function readGolden(file: string): Golden | null {
  const entries = unzipSync(readFileSync(file));
  const bytes = (name: string): Uint8Array => {
    const b = entries[`${name}.npy`];
    if (b === undefined) throw new Error(`${file} holds no '${name}'`);
    return b;
  };
  const header = new TextDecoder("latin1").decode(bytes("names").subarray(0, 128));
  const width = Number(/'<U(\d+)'/.exec(header)?.[1]);
  const names: { inputs: string[]; outputs: string[] } = JSON.parse(utf32(bytes("names").slice(-4 * width)));
  const stringTyped = (b: Uint8Array) => /'descr'\s*:\s*'(<U|\|O|\|S)/.test(new TextDecoder("latin1").decode(b.subarray(0, 128)));
  const kinds = [...names.inputs.map((_, i) => `in_${i}`), ...names.outputs.map((_, i) => `out_${i}`)];
  if (kinds.some((k) => stringTyped(bytes(k)))) return null;
  const tensor = (name: string): HostTensor => {
    const a = readNpy(bytes(name), `${file}:${name}`);
    return hostFromBytes(a.dtype, a.dims, new Uint8Array(a.data.buffer, a.data.byteOffset, a.data.byteLength));
  };
  return {
    inputs: new Map(names.inputs.map((n, i) => [n, tensor(`in_${i}`)])),
    outputs: new Map(names.outputs.map((n, i) => [n, tensor(`out_${i}`)])),
  };
}

/** NumPy keeps text as UTF-32, filled up with zeros. */
function utf32(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true))
    .filter((c) => c !== 0)
    .map((c) => String.fromCodePoint(c))
    .join("");
}
