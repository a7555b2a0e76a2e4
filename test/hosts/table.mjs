// The table of hosts: a row each, a column for each thing that has to work there.

const columns = ["load", "run", "threads", "dispose", "error"];

/** What a row's cells say, and what is wrong with them: faults are texts, none where all is well. */
export function judge(host, row, hashes) {
  const faults = [];
  const cells = columns.map((column) => {
    const cell = row[column];
    if (cell === undefined || !cell.ok) {
      faults.push(`${column}: ${cell?.text ?? "nothing was reported"}`);
      return "FAILED";
    }
    return column === "threads" ? threadsCell(host, cell.text, faults) : "ok";
  });
  const bits = [row.run?.text, row.threads?.text?.hash];
  if (faults.length === 0 && hashes.some((h, i) => h !== bits[i])) faults.push(`other bits: ${bits}, elsewhere ${hashes}`);
  return { cells: [...cells, String(bits[0])], faults };
}

/** Several threads where they are expected, else one, and why. */
function threadsCell({ threads: expected }, { threads, reason }, faults) {
  const right = expected.count === undefined ? threads === 1 && expected.reason.test(reason) : threads === expected.count;
  if (!right) faults.push(`threads: ${threads} (${reason}), expected ${expected.count ?? `1 (${expected.reason})`}`);
  return right ? String(threads) : "FAILED";
}

/** Prints rows of equal width; the first is the head. */
export function printTable(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((r) => r[i]?.length ?? 0)));
  for (const r of rows)
    console.log(
      r
        .map((cell, i) => cell.padEnd(widths[i]))
        .join("  ")
        .trimEnd(),
    );
}

export const head = ["host", ...columns, "bits", "s"];
