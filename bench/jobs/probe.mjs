// Which engine and which module run, and on how many threads, told by a product of matrices that several threads are worth.
import { loadTilewright, startTilewright } from "../engines/tilewright.mjs";
import { loadWorkload, matmulWorkload } from "../workloads.mjs";

export async function probe({ dist, threads, relaxed }) {
  const tw = await loadTilewright(dist);
  const engine = await startTilewright(tw, loadWorkload(matmulWorkload({ m: 256, k: 256, n: 256 }, false)), { threads, relaxed });
  await engine.run();
  await engine.dispose();
  const { threads: used, threads_reason, relaxed_simd } = engine.info;
  return { tilewright: tw.version, threads: used, threads_reason, relaxed_simd };
}
