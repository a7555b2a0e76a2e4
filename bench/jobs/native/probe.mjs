// Which level of code runs, and on how many threads, told by a product of matrices that several threads are worth.
import { loadNative, startNativeEngine } from "../../engines/native.mjs";
import { loadWorkload, matmulWorkload } from "../../workloads.mjs";

export async function nativeProbe({ dist, threads }) {
  const tw = await loadNative(dist);
  const engine = await startNativeEngine(tw, loadWorkload(matmulWorkload({ m: 256, k: 256, n: 256 }, false)), { threads });
  engine.runModel();
  engine.dispose();
  const { threads: used, threads_reason, level, compiler } = engine.info;
  return { tilewright: tw.version, threads: used, threads_reason, level, compiler };
}
