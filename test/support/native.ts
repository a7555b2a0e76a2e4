import { listCompilers } from "../../src/node/native/compiler.ts";
import { loadFfi } from "../../src/node/native/ffi.ts";

/** What this machine lacks to run native models; null where it has all. */
export async function missingForNative(): Promise<string | null> {
  if (listCompilers().length === 0) return "no C compiler";
  return loadFfi().then(
    () => null,
    (e: Error) => e.message.split("\n")[0] ?? e.message,
  );
}
