// What it costs that sizes are known late.
import { inFreshProcess, notNull } from "./common.mjs";

export async function measureSymbols(context) {
  context.note("minilm_dyn: sizes known late, and early");
  const rows = await inFreshProcess(context, "minilm_dyn", "symbolic", { dist: context.dist, rounds: context.rounds });
  context.note("gpt_kv: one token at a time");
  const decoding = await inFreshProcess(context, "gpt_kv", "decoding", { dist: context.dist, rounds: Math.ceil(context.rounds / 4) });
  return notNull([
    rows === null ? null : { name: "minilm_dyn", kind: "symbolic", rows },
    decoding === null ? null : { name: "gpt_kv", kind: "decoding", ...decoding },
  ]);
}
