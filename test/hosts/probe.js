/**
 * What is done with the artifacts in every host; plain JavaScript that asks nothing of its host. Each cell of the table is
 * made by a function that throws where the host falls short.
 */

/** Numbers in [0, 1), the same in every engine. */
function numbers(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  });
}

/** FNV-1a of all bytes, in hex. */
function hashOf(arrays) {
  let hash = 0xcbf29ce484222325n;
  for (const a of arrays)
    for (const byte of new Uint8Array(a.buffer, a.byteOffset, a.byteLength)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

function assert(condition, message) {
  if (!condition) throw new Error(message);
}

/** The error that a promise rejects with, which must be a UserError with this code and words. */
async function mustFail(promise, code, words) {
  const error = await promise.then(
    () => null,
    (e) => e,
  );
  assert(error !== null, `no error '${code}'`);
  assert(error.name === "UserError" && error.code === code && words.test(error.message), `not an error '${code}': ${error.name}: ${error.message}`);
  return error.code;
}

const image = (seed) => ({ image: numbers(64, seed) });

async function runDigits(model) {
  const results = [];
  for (let seed = 1; seed <= 16; seed++) results.push((await model.run(image(seed))).logits.data);
  return hashOf(results);
}

async function sumRows(model) {
  const results = [];
  for (let round = 0; round < 10; round++)
    for (const n of [1, 7, 300, 64]) results.push((await model.run({ x: { data: numbers(n, n + round), dims: [n] } })).y.data);
  return hashOf(results);
}

/**
 * Fills one row of the table. `digits` and `rows` are the `load` of two artifacts (rows has kernels that threads share),
 * `given` is what each of them is handed. `missing` makes a load that has to fail because a file is not there.
 */
export async function probe({ digits, rows, given = {}, missing }) {
  const cells = {};
  const cell = async (name, fill) => {
    try {
      cells[name] = { ok: true, text: await fill() };
    } catch (e) {
      cells[name] = { ok: false, text: `${e?.name}: ${e?.message}` };
    }
  };
  let model = null;
  await cell("load", async () => {
    model = await digits(given.digits);
    return `${model.info().memory_bytes} bytes`;
  });
  await cell("run", () => runDigits(model));
  await cell("threads", async () => {
    const one = await rows({ ...given.rows, threads: 1 });
    const several = await rows({ ...given.rows, threads: 3 });
    const { threads, threads_reason } = several.info();
    const [expected, got] = [await sumRows(one), await sumRows(several)];
    one.dispose();
    several.dispose();
    assert(expected === got, `other results than one thread's: ${got}, not ${expected}`);
    return { threads, reason: threads_reason, hash: got };
  });
  await cell("dispose", async () => {
    model.dispose();
    await mustFail(model.run(image(1)), "disposed", /disposed of/);
    assert(model.info().memory_bytes === 0, `${model.info().memory_bytes} bytes are left`);
    for (let i = 0; i < 20; i++) {
      const m = await rows({ ...given.rows, threads: 2 });
      await m.run({ x: { data: numbers(50, i), dims: [50] } });
      m.dispose();
    }
    return "nothing left";
  });
  await cell("error", async () => {
    const m = await digits(given.digits);
    const codes = [
      await mustFail(m.run({}), "missing-input", /'image'/),
      await mustFail(m.run({ image: new Float32Array(63) }), "size", /64/),
      await mustFail(digits({ ...given.digits, threads: 0 }), "threads", /from 1 to/),
      await mustFail(digits({ ...given.digits, weights: new Uint8Array(3) }), "weights", /have 3 bytes/),
      await mustFail(missing(), "artifact", /cannot be|nowhere/),
    ];
    await m.run(image(1));
    m.dispose();
    return codes.join(", ");
  });
  return cells;
}
