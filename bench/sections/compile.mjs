// CPU time and code size of compiling.
import { inFreshProcess, notNull } from "./common.mjs";

export async function measureCompile(context, names) {
  const rows = [];
  for (const name of names) {
    context.note(`${name}: compiling`);
    const result = await inFreshProcess(context, name, "compile", { dist: context.dist, name });
    rows.push(result === null ? null : { name, ...result });
  }
  return notNull(rows);
}
