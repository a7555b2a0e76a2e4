import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

const corpora = new URL("../../../shared/corpora/", import.meta.url).pathname;

/**
 * A two-dimensional f64 array of the special-function tables among the test corpora, as rows of `columns` numbers; null,
 * with the reason printed, where the corpora are absent.
 */
export function specialTable(name: string, columns: number): number[][] | null {
  if (!existsSync(join(corpora, "inputs.tar.xz"))) {
    console.warn(`special-function tables are skipped: ${corpora}inputs.tar.xz is not there`);
    return null;
  }
  const dest = join(tmpdir(), "tilewright-corpora");
  execFileSync("bash", [join(corpora, "unpack.sh"), dest, "inputs"], { stdio: "ignore" });
  const npy = zipMember(readFileSync(join(dest, "inputs/scipy/scipy/special/tests/data/local.npz")), `${name}.npy`);
  const data = npy.subarray(10 + npy.readUInt16LE(8));
  const values = Array.from({ length: data.length / 8 }, (_, i) => data.readDoubleLE(8 * i));
  return Array.from({ length: values.length / columns }, (_, i) => values.slice(i * columns, (i + 1) * columns));
}

/** One member of a zip archive, found through its central directory. */
function zipMember(zip: Buffer, name: string): Buffer {
  const end = zip.lastIndexOf("PK\x05\x06", undefined, "latin1");
  let at = zip.readUInt32LE(end + 16);
  for (let n = zip.readUInt16LE(end + 10); n > 0; n--) {
    const [method, size, nameLength] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20), zip.readUInt16LE(at + 28)];
    const local = zip.readUInt32LE(at + 42);
    if (zip.toString("latin1", at + 46, at + 46 + nameLength) === name) {
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const bytes = zip.subarray(start, start + size);
      return method === 0 ? bytes : inflateRawSync(new Uint8Array(bytes));
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`no '${name}' in the archive`);
}
