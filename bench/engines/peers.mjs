// Two array libraries that multiply matrices in WebAssembly, on one thread: from typed arrays to typed arrays, as the others.
import { timeRuns } from "../timing.mjs";

const engineOf = (name, version, run, dispose) => {
  const engine = { name, version, run, stretch: (repeats) => timeRuns(engine, repeats), dispose };
  return engine;
};

/** TensorFlow.js with its WebAssembly backend, whose kernels are XNNPACK's. */
export async function startTfjs({ product: { m, k, n, left, right, constant } }) {
  const tf = await import("@tensorflow/tfjs");
  const { setThreadsCount, getThreadsCount, version_wasm } = await import("@tensorflow/tfjs-backend-wasm");
  setThreadsCount(1);
  if (!(await tf.setBackend("wasm"))) throw new Error("its WebAssembly backend did not start");
  if (getThreadsCount() !== 1) throw new Error(`it takes ${getThreadsCount()} threads`);
  const kept = constant ? tf.tensor2d(right, [k, n]) : null;
  const run = () => {
    const [a, b] = [tf.tensor2d(left, [m, k]), kept ?? tf.tensor2d(right, [k, n])];
    const c = tf.matMul(a, b);
    const data = c.dataSync();
    tf.dispose(kept === null ? [a, b, c] : [a, c]);
    return { c: { dims: [m, n], data } };
  };
  return engineOf("tfjs", version_wasm, run, () => kept?.dispose());
}

/**
 * jax-js with its WebAssembly backend. It takes threads where there is a global `Worker`, which Node has not, but
 * onnxruntime-web makes one; on one thread that is not needed. And it reads `navigator`, which Node 20 has not.
 */
export async function startJax({ product: { m, k, n, left, right, constant } }) {
  globalThis.navigator ??= { userAgent: "node", hardwareConcurrency: 1 };
  delete globalThis.Worker;
  const jax = await import("@jax-js/jax");
  const np = jax.numpy;
  jax.defaultDevice("wasm");
  const multiply = jax.jit((a, b) => np.matmul(a, b));
  const kept = constant ? np.array(right, { shape: [k, n] }) : null;
  const run = async () => {
    // A call takes the references that it is given; `ref` makes another one.
    const c = multiply(np.array(left, { shape: [m, k] }), kept?.ref ?? np.array(right, { shape: [k, n] }));
    return { c: { dims: [m, n], data: await c.data() } };
  };
  return engineOf("jax-js", null, run, () => kept?.dispose());
}
