import type { ConstantData } from "../../base/constant.ts";
import { UserError } from "../../base/errors.ts";
import type { ExternalDataResolver } from "../../frontends/onnx/import.ts";

/** What reads a part of a Blob at once: only workers have it. */
type SyncReader = new () => { readAsArrayBuffer(blob: Blob): ArrayBuffer };

/**
 * Gives a model external data from files that were named beside it. A Blob (a page's File) is read piece by piece, when its
 * bytes are needed, which only a worker can do. Where `missing` is given, files that are not there are noted in it, and are
 * an error only when their bytes are needed: much can be told of a model without its weights.
 */
export function filesResolver(files: Readonly<Record<string, Uint8Array | Blob>>, missing?: Set<string>): ExternalDataResolver {
  const named = new Map(Object.entries(files).map(([name, file]) => [normal(name), file]));
  return {
    open(location, offset, length): ConstantData {
      const file = named.get(normal(location));
      if (file === undefined) {
        const fail = (): never => {
          throw new UserError(
            "external-data-missing",
            `the model keeps weights in the file '${location}', which was not given beside it (given: ${[...named.keys()].join(", ") || "none"}); give that file too`,
          );
        };
        if (missing === undefined) return fail();
        missing.add(location);
        return { byteLength: length ?? 0, read: fail, key: `${normal(location)}:${offset}+${length}` };
      }
      const size = file instanceof Uint8Array ? file.length : file.size;
      const wanted = length ?? size - offset;
      if (wanted < 0 || offset + wanted > size)
        throw new UserError(
          "external-data-short",
          `external data '${location}': the model needs bytes ${offset} to ${offset + Math.max(0, wanted)}, but the file has only ${size}; is it complete?`,
        );
      const read = readerOf(file, location);
      return { byteLength: wanted, key: `${normal(location)}:${offset}+${wanted}`, read: (at, n) => read(offset + at, n) };
    },
  };
}

/** Locations are relative to the model; what leads out of its folder is only a name here. */
function normal(location: string): string {
  return location.replaceAll("\\", "/").replace(/^(\.\/)+/, "");
}

function readerOf(file: Uint8Array | Blob, location: string): (at: number, n: number) => Uint8Array {
  if (file instanceof Uint8Array) return (at, n) => file.subarray(at, at + n);
  const { FileReaderSync } = globalThis as { FileReaderSync?: SyncReader };
  if (FileReaderSync === undefined)
    throw new UserError("external-data-read", `external data '${location}': a Blob can only be read in a worker; give the file's bytes`);
  return (at, n) => new Uint8Array(new FileReaderSync().readAsArrayBuffer(file.slice(at, at + n)));
}
