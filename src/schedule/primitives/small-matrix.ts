import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";

/** A matrix of constants, by rows. */
export type Matrix = readonly (readonly number[])[];

/**
 * A small matrix times a column of expressions. Columns that differ only in signs are added and subtracted first; of rows
 * that are `e + o` and `e − o`, both parts are made once.
 */
export function applyMatrix(sc: Scalars, m: Matrix, column: readonly Expr[]): Expr[] {
  let [rows, xs] = [m.map((r) => [...r]), [...column]];
  for (let i = 0; i < column.length; i++) {
    for (let j = i + 1; j < column.length; j++) {
      const [a, b] = [rows.map((r) => r[i] as number), rows.map((r) => r[j] as number)];
      if (a.filter((c) => c !== 0).length < 2 || a.some((c, r) => Math.abs(c) !== Math.abs(b[r] as number))) continue;
      const [x, y] = [xs[i] as Expr, xs[j] as Expr];
      xs = [...xs, sc.add(x, y), sc.sub(x, y)];
      rows = rows.map((r) => {
        const [p, q] = [r[i] as number, r[j] as number];
        return [...r.with(i, 0).with(j, 0), p === q ? p : 0, p === q ? 0 : p];
      });
    }
  }
  const done = new Array<Expr | undefined>(rows.length);
  for (let i = 0; i < rows.length; i++) {
    if (done[i] !== undefined) continue;
    const row = rows[i] as number[];
    const twin = rows.findIndex(
      (r, j) => j > i && done[j] === undefined && r.every((c, x) => Math.abs(c) === Math.abs(row[x] as number)) && isMixed(r, row),
    );
    if (twin < 0) {
      done[i] = weighted(sc, row, xs);
      continue;
    }
    const other = rows[twin] as number[];
    const even = weighted(
      sc,
      row.map((c, x) => (c === other[x] ? c : 0)),
      xs,
    );
    const odd = weighted(
      sc,
      row.map((c, x) => (c === other[x] ? 0 : c)),
      xs,
    );
    done[i] = sc.add(even, odd);
    done[twin] = sc.sub(even, odd);
  }
  return done as Expr[];
}

/** Do two rows of equal magnitudes agree in some places and differ in others? */
function isMixed(a: readonly number[], b: readonly number[]): boolean {
  return a.some((c, i) => c !== 0 && c === b[i]) && a.some((c, i) => c !== 0 && c !== b[i]);
}

/** `Σ c · x`, factors of ±1 as plain additions and subtractions. */
function weighted(sc: Scalars, row: readonly number[], xs: readonly Expr[]): Expr {
  const type = (xs[0] as Expr).dtype;
  let sum: Expr | null = null;
  // Positive terms first, so that no negation is needed where there is one.
  const order = row.map((_, i) => i).sort((i, j) => Math.sign(row[j] as number) - Math.sign(row[i] as number));
  for (const i of order) {
    const c = row[i] as number;
    if (c === 0) continue;
    const x = xs[i] as Expr;
    const term = Math.abs(c) === 1 ? x : sc.mul(x, sc.const(Math.abs(c), type));
    if (sum === null) sum = c > 0 ? term : sc.op("neg", [term]);
    else sum = c > 0 ? sc.add(sum, term) : sc.sub(sum, term);
  }
  return sum ?? sc.const(0, type);
}
