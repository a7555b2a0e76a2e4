// What each model of the suite is run on. A case gives all of the model's expected outputs, however many runs of whatever
// sizes it puts them together from: the models of symbolic shape must do so from several sizes with one compiled module.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { compareSampled, readRaw, worstOf } from "../../bench/suite.mjs";

/** The cases of a model as `readModel` gives it: `{ name, run(loaded): outputs by name }`. */
export function casesOf(model) {
  return special[model.name]?.(model) ?? [{ name: "given inputs", run: (loaded) => loaded.run(inputsOf(model)) }];
}

/** Compares what a case gave with what the model must give: the sampled values, and every element where the reference is there. */
export function compareCase(model, name, outputs) {
  return model.outputs.map((expected) => {
    const got = outputs[expected.name];
    if (got === undefined) throw new Error(`there is no output '${expected.name}', but ${Object.keys(outputs)}`);
    return { case: name, output: expected.name, sampled: compareSampled(expected, got), every: compareAll(model, expected, got) };
  });
}

/** Every element, where the reference's outputs were written beside the model. */
function compareAll(model, expected, got) {
  const file = join(model.dir, `reference-${expected.name}.raw`);
  if (!existsSync(file)) return null;
  const all = readRaw(file, expected.dtype);
  return worstOf(all.length, (i) => i, all, got.data, expected.deviation);
}

const inputsOf = (model) => Object.fromEntries(model.inputs.map(({ name, data, dims }) => [name, { data, dims }]));

const special = {
  // Rows of a batch are independent, and tokens that are masked away change nothing: the expected outputs, of [3, 37], must
  // come out of other batches and lengths too.
  minilm_dyn(model) {
    const [ids, mask] = model.inputs;
    const [batch, length] = ids.dims;
    const [output] = model.outputs;
    const width = output.dims[2];
    const rows = (t, first, count) => t.data.slice(first * length, (first + count) * length);
    const run = (loaded, count, idData, maskData, columns) =>
      loaded.run({ [ids.name]: { data: idData, dims: [count, columns] }, [mask.name]: { data: maskData, dims: [count, columns] } });
    const joined = (parts) => ({ [output.name]: { data: concat(parts), dims: output.dims } });
    // The tail is filled with a token that would change everything if it were seen.
    const padded = (data, columns, fill) => {
      const out = new BigInt64Array((data.length / length) * columns).fill(fill);
      for (let r = 0; r < data.length / length; r++) out.set(data.subarray(r * length, (r + 1) * length), r * columns);
      return out;
    };
    const heads = (data, columns) =>
      Array.from({ length: data.length / (columns * width) }, (_, r) => data.slice(r * columns * width, (r * columns + length) * width));
    const masked = (name, count, columns) => ({
      name,
      async run(loaded) {
        const parts = [];
        for (let r = 0; r < batch; r += count) {
          const n = Math.min(count, batch - r);
          const out = await run(loaded, n, padded(rows(ids, r, n), columns, 1234n), padded(rows(mask, r, n), columns, 0n), columns);
          parts.push(...heads(out[output.name].data, columns));
        }
        return joined(parts);
      },
    });
    return [
      { name: `[${batch}, ${length}]`, run: (loaded) => run(loaded, batch, ids.data, mask.data, length) },
      masked(`one row at a time, [1, ${length}]`, 1, length),
      masked(`[${batch}, ${length + 13}], the rest masked`, batch, length + 13),
      masked(`[2, 128] and [1, 128], the rest masked`, 2, 128),
    ];
  },

  // A decoder with a cache: tokens given in several runs, each fed the cache of the one before, must come out as in one.
  gpt_kv(model) {
    const [ids, pastK, pastV] = model.inputs;
    const [logits, presentK, presentV] = model.outputs;
    const tokens = ids.dims[1];
    const inPieces = (pieces, keep) => ({
      name: `${pieces.join(" + ")} tokens after ${pastK.dims[3]}${keep ? ", the cache kept inside" : ""}`,
      async run(loaded) {
        let cache = [pastK, pastV].map(({ data, dims }) => ({ data, dims }));
        const parts = [];
        let at = 0;
        for (const n of pieces) {
          const inputs = { [ids.name]: { data: ids.data.slice(at, at + n), dims: [1, n] }, [pastK.name]: cache[0], [pastV.name]: cache[1] };
          at += n;
          const out = await loaded.run(inputs, keep && at < tokens ? { keep: [presentK.name, presentV.name] } : {});
          parts.push(out[logits.name].data);
          cache = [out[presentK.name], out[presentV.name]];
        }
        return { [logits.name]: { data: concat(parts), dims: logits.dims }, [presentK.name]: cache[0], [presentV.name]: cache[1] };
      },
    });
    return [inPieces([tokens], false), inPieces([2, tokens - 2], false), inPieces([1, tokens - 1], true), inPieces(Array(tokens).fill(1), true)];
  },
};

function concat(parts) {
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}
