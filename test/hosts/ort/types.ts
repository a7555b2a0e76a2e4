// Compiled, never run: the types of tilewright/ort and of onnxruntime-common stand for one another.
import * as common from "onnxruntime-common";
import * as own from "tilewright/ort";

// The whole package, as programs see it that only change the import.
export const api: Pick<typeof common, "InferenceSession" | "Tensor" | "env" | "registerBackend" | "TRACE" | "TRACE_FUNC_BEGIN"> = own;
export const back: Pick<typeof own, "InferenceSession" | "Tensor" | "registerBackend"> = common;

export function sessions(a: own.InferenceSession, b: common.InferenceSession): [common.InferenceSession, own.InferenceSession] {
  return [a, b];
}
export function tensors(a: own.Tensor, b: common.Tensor): [common.Tensor, own.Tensor] {
  return [a, b];
}
export function typedTensors(a: own.TypedTensor<"int64">, b: common.TypedTensor<"int64">): [common.TypedTensor<"int64">, own.TypedTensor<"int64">] {
  return [a, b];
}
export function options(
  a: own.InferenceSession.SessionOptions,
  b: common.InferenceSession.SessionOptions,
): [common.InferenceSession.SessionOptions, own.InferenceSession.SessionOptions] {
  return [a, b];
}
export function runOptions(
  a: own.InferenceSession.RunOptions,
  b: common.InferenceSession.RunOptions,
): [common.InferenceSession.RunOptions, own.InferenceSession.RunOptions] {
  return [a, b];
}
export function metadata(
  a: own.InferenceSession.ValueMetadata,
  b: common.InferenceSession.ValueMetadata,
): [common.InferenceSession.ValueMetadata, own.InferenceSession.ValueMetadata] {
  return [a, b];
}
export function providers(
  a: own.InferenceSession.ExecutionProviderConfig,
  b: common.InferenceSession.ExecutionProviderConfig,
): [common.InferenceSession.ExecutionProviderConfig, own.InferenceSession.ExecutionProviderConfig] {
  return [a, b];
}
export function environments(a: own.Env, b: common.Env): [common.Env, own.Env] {
  return [a, b];
}
export function backends(a: own.Backend, b: common.Backend): [common.Backend, own.Backend] {
  return [a, b];
}
export function files(a: own.ExternalDataFileType, b: common.ExternalDataFileType): [common.ExternalDataFileType, own.ExternalDataFileType] {
  return [a, b];
}
export function pictures(
  a: own.TensorFromUrlOptions & own.TensorToDataUrlOptions & own.TensorToImageDataOptions,
  b: common.TensorFromUrlOptions & common.TensorToDataUrlOptions & common.TensorToImageDataOptions,
): [typeof b, typeof a] {
  return [a, b];
}
/** Every value that the one has, the other has too. */
export const complete: [Exclude<keyof typeof common, keyof typeof own>] extends [never] ? true : false = true;

/** A program of a user's. */
export async function program(ort: typeof own): Promise<Float32Array> {
  const session: own.InferenceSession = await ort.InferenceSession.create("model.onnx", {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const feeds: Record<string, own.Tensor> = { ids: new ort.Tensor("int64", [1n, 2n], [1, 2]), mask: new ort.Tensor("bool", [true, false]) };
  const fetches: own.InferenceSession.OnnxValueMapType = await session.run(feeds, ["out"], { tag: "one" });
  const type: own.Tensor.Type = "float32";
  const [meta] = session.inputMetadata;
  if (meta?.isTensor) console.log(meta.shape.length, meta.type === type);
  return fetches.out?.data as Float32Array;
}
