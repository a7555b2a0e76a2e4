import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compileGraph } from "../src/compile.ts";
import { UnsupportedError } from "../src/base/errors.ts";
import { brief, conformanceCases, corpus, difference, importCase } from "./support/conformance.ts";
import { runInWasm } from "./support/run.ts";

const suite = corpus("onnx-conformance");
if (suite === null) console.log("skipped: no conformance corpus beside the repository");

describe.skipIf(suite === null)("ONNX backend conformance", () => {
  it("every case whose ops are supported gives ONNX's results as WASM", { timeout: 240_000 }, async () => {
    const failures: string[] = [];
    const refused: string[] = [];
    let [ran, large, unsupported] = [0, 0, 0];
    for (const c of conformanceCases(join(suite ?? "", "data", "node"))) {
      try {
        const m = importCase(c, 20_000);
        if (m.kind === "large") large++;
        else if (m.kind === "unsupported") unsupported++;
        else {
          const got = await runInWasm(compileGraph(m.model.graph), m.inputs, false);
          ran++;
          m.outputs.forEach((want, i) => {
            const t = got[i];
            const d = t === undefined ? "missing" : difference(t, want);
            if (d !== null) failures.push(`${c.name}: output ${i}: ${d}`);
          });
        }
      } catch (e) {
        if (e instanceof UnsupportedError) refused.push(`${c.name}: ${e.message}`);
        else failures.push(`${c.name}: ${brief(e)}`);
      }
    }
    console.log(
      `conformance as WASM: ${ran} cases ran, ${failures.length} failed, ${refused.length} refused by the compiler, ${unsupported} not importable, ${large} too large for here`,
    );
    expect(refused).toEqual([]);
    expect(failures).toEqual([]);
    // Guards against a change that silently declares ops unsupported.
    expect(ran).toBeGreaterThan(900);
  });
});
