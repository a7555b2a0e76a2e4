/** Four launches of one kernel over counts that differ; row i of y is the sum of x[0 … i], by way of scratch memory. */
export const rowsText = `program @rows {
  symbol n in [1, 4096]
  memory weights, arena bytes 0
  alloc %x as ax bytes 4 * n
  alloc %y as ay bytes 4 * n
  alloc %s as tmp bytes 256
  input %x: f32[n] at ax
  output %y: f32[n] at ay
  kernel @sum(param %x: f32, out scratch %s: f32, out param %y: f32) over [begin, end) {
    for i in [begin, end) {
      %s[0] = 0.0
      for j in [0, i + 1) {
        %s[0] = %s[0] + %x[j]
      }
      %y[i] = %s[0]
    }
  }
  main {
    launch @sum(ax, tmp, ay) over [0, n) grain 1 threads from 1 scratch (1, 256) from "one"
    launch @sum(ax, tmp, ay) over [0, n) grain 3 threads from 4 scratch (1, 256) from "two"
    launch @sum(ax, tmp, ay) over [0, n) grain n from "three"
    launch @sum(ax, tmp, ay) over [0, floordiv(n, 2)) grain 2 threads from 1 scratch (1, 256) from "four"
  }
}
`;
