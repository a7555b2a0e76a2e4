// One line of a table of times.

/** What is reported of one workload, from what `startTilewright` and `measure` gave. */
export function rowOf({ flops, codeBytes, startMs, info }, { settled, times, ratios }, ceiling) {
  const gflops = flops === null ? null : flops / times.tilewright.median_ms / 1e6;
  return {
    settled,
    times,
    ratios,
    flops,
    gflops,
    ceiling_gflops: ceiling,
    share: gflops === null ? null : gflops / (ceiling * info.threads),
    threads: info.threads,
    relaxed_simd: info.relaxed_simd,
    level: info.level,
    compile_ms: startMs,
    code_bytes: codeBytes,
  };
}
