import { SessionClass } from "./session-class.ts";
import type { Tensor, TryGetGlobalType } from "./tensor.ts";

/** Sessions in the API of onnxruntime-common 1.30, in words of our own. */

export type NonTensorType = never;
export type OnnxValue = Tensor | NonTensorType;
export type OnnxValueDataLocation = Tensor.DataLocation;

/** A URL; in Node also the path of a file. */
export type FileUrlOrPath = string;
export type FileBlob = Blob;
export type FileData = Uint8Array | ArrayBufferLike;
export type FileType = FileUrlOrPath | FileBlob | FileData;
/** A file of external data: where the model says it is, and where it really is. */
export interface ExternalDataFileDescription {
  data: FileType;
  path: string;
}
export type ExternalDataFileType = ExternalDataFileDescription | FileUrlOrPath;
export interface OnnxModelOptions {
  /** The files that hold the model's external data. */
  externalData?: readonly ExternalDataFileType[];
}

export declare namespace InferenceSession {
  type OnnxValueMapType = { readonly [name: string]: OnnxValue };
  type NullableOnnxValueMapType = { readonly [name: string]: OnnxValue | null };
  type FeedsType = OnnxValueMapType;
  /** Names of outputs; or outputs by name, null or a tensor to be written to. */
  type FetchesType = readonly string[] | NullableOnnxValueMapType;
  type ReturnType = OnnxValueMapType;

  /** docs/ort.md tells what becomes of each. */
  interface SessionOptions extends OnnxModelOptions {
    executionProviders?: readonly ExecutionProviderConfig[];
    intraOpNumThreads?: number;
    interOpNumThreads?: number;
    freeDimensionOverrides?: { readonly [dimensionName: string]: number };
    graphOptimizationLevel?: "disabled" | "basic" | "extended" | "layout" | "all";
    enableCpuMemArena?: boolean;
    enableMemPattern?: boolean;
    executionMode?: "sequential" | "parallel";
    optimizedModelFilePath?: string;
    enableProfiling?: boolean;
    profileFilePrefix?: string;
    logId?: string;
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
    logVerbosityLevel?: number;
    preferredOutputLocation?: OnnxValueDataLocation | { readonly [outputName: string]: OnnxValueDataLocation };
    enableGraphCapture?: boolean;
    extra?: Record<string, unknown>;
  }

  interface ExecutionProviderOptionMap {
    coreml: CoreMLExecutionProviderOption;
    cpu: CpuExecutionProviderOption;
    cuda: CudaExecutionProviderOption;
    dml: DmlExecutionProviderOption;
    nnapi: NnapiExecutionProviderOption;
    tensorrt: TensorRtExecutionProviderOption;
    wasm: WebAssemblyExecutionProviderOption;
    webgl: WebGLExecutionProviderOption;
    webgpu: WebGpuExecutionProviderOption;
    webnn: WebNNExecutionProviderOption;
    qnn: QnnExecutionProviderOption;
    xnnpack: XnnpackExecutionProviderOption;
  }
  type ExecutionProviderName = keyof ExecutionProviderOptionMap;
  type ExecutionProviderConfig = ExecutionProviderOptionMap[ExecutionProviderName] | ExecutionProviderOption | ExecutionProviderName | string;
  interface ExecutionProviderOption {
    readonly name: string;
  }
  interface CpuExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "cpu";
    useArena?: boolean;
  }
  interface WebAssemblyExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "wasm";
  }
  // The providers that there are not here: programs may still name them, before one that there is.
  interface CudaExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "cuda";
    deviceId?: number;
  }
  interface DmlExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "dml";
    deviceId?: number;
  }
  interface TensorRtExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "tensorrt";
    deviceId?: number;
  }
  interface WebGLExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "webgl";
  }
  interface XnnpackExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "xnnpack";
  }
  type WebGpuCacheMode = "disabled" | "lazyRelease" | "simple" | "bucket";
  interface WebGpuExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "webgpu";
    preferredLayout?: "NCHW" | "NHWC";
    forceCpuNodeNames?: readonly string[];
    validationMode?: "disabled" | "wgpuOnly" | "basic" | "full";
    enableRobustness?: boolean;
    storageBufferCacheMode?: WebGpuCacheMode;
    uniformBufferCacheMode?: WebGpuCacheMode;
    queryResolveBufferCacheMode?: WebGpuCacheMode;
    defaultBufferCacheMode?: WebGpuCacheMode;
    device?: TryGetGlobalType<"GPUDevice">;
  }
  interface WebNNExecutionProviderName extends ExecutionProviderOption {
    readonly name: "webnn";
  }
  interface WebNNContextOptions {
    deviceType?: "cpu" | "gpu" | "npu";
    numThreads?: number;
    powerPreference?: "default" | "low-power" | "high-performance";
  }
  interface WebNNOptionsWithoutMLContext extends WebNNExecutionProviderName, WebNNContextOptions {
    context?: never;
  }
  interface WebNNOptionsWithMLContext
    extends WebNNExecutionProviderName,
      Omit<WebNNContextOptions, "deviceType">,
      Required<Pick<WebNNContextOptions, "deviceType">> {
    context: TryGetGlobalType<"MLContext">;
  }
  interface WebNNOptionsWebGpu extends WebNNExecutionProviderName {
    context: TryGetGlobalType<"MLContext">;
    gpuDevice: TryGetGlobalType<"GPUDevice">;
  }
  type WebNNExecutionProviderOption = WebNNOptionsWithoutMLContext | WebNNOptionsWithMLContext | WebNNOptionsWebGpu;
  interface QnnExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "qnn";
    backendType?: string;
    backendPath?: string;
    enableFp16Precision?: boolean;
  }
  interface CoreMLExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "coreml";
    coreMlFlags?: number;
    useCPUOnly?: boolean;
    useCPUAndGPU?: boolean;
    enableOnSubgraph?: boolean;
    onlyEnableDeviceWithANE?: boolean;
  }
  interface NnapiExecutionProviderOption extends ExecutionProviderOption {
    readonly name: "nnapi";
    useFP16?: boolean;
    useNCHW?: boolean;
    cpuDisabled?: boolean;
    cpuOnly?: boolean;
  }

  interface RunOptions {
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
    logVerbosityLevel?: number;
    /** True: the run is not begun, and rejects. */
    terminate?: boolean;
    tag?: string;
    extra?: Record<string, unknown>;
  }

  interface ValueMetadataBase {
    readonly name: string;
  }
  interface NonTensorValueMetadata extends ValueMetadataBase {
    readonly isTensor: false;
  }
  interface TensorValueMetadata extends ValueMetadataBase {
    readonly isTensor: true;
    readonly type: Tensor.Type;
    /** A size that is not fixed stands by the model's name for it; an empty text where it has none. */
    readonly shape: readonly (number | string)[];
  }
  type ValueMetadata = NonTensorValueMetadata | TensorValueMetadata;
}

/** A model, compiled and ready to run. */
export interface InferenceSession {
  /**
   * Runs the model, after the runs asked for before.
   * @throws UserError (rejects) for a missing or unknown input, one of a wrong type or shape, unknown outputs, and after `release`
   */
  run(feeds: InferenceSession.FeedsType, options?: InferenceSession.RunOptions): Promise<InferenceSession.ReturnType>;
  run(
    feeds: InferenceSession.FeedsType,
    fetches: InferenceSession.FetchesType,
    options?: InferenceSession.RunOptions,
  ): Promise<InferenceSession.ReturnType>;
  /** Frees the model's memory and threads, after the run that is going on. */
  release(): Promise<void>;
  /** Begins a new record of times; sessions made with `enableProfiling` record from the start. */
  startProfiling(): void;
  /** Ends the record, and writes it as a file of trace events (Node), or to the console. */
  endProfiling(): void;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[];
}

export interface InferenceSessionFactory {
  /**
   * Compiles a model and starts it.
   * @param uri a URL, or (Node) the path of a file
   * @throws UserError, UnsupportedError (rejects) for what is wrong with the model or the options
   */
  create(uri: string, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  create(buffer: ArrayBufferLike, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  /** @param byteOffset,byteLength the part of the buffer that is the model */
  create(buffer: ArrayBufferLike, byteOffset: number, byteLength?: number, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  create(buffer: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
}

export declare namespace SessionHandler {
  type FeedsType = { [name: string]: OnnxValue };
  type FetchesType = { [name: string]: OnnxValue | null };
  type ReturnType = { [name: string]: OnnxValue };
}

/** What a backend makes of a model. */
export interface InferenceSessionHandler {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[];
  dispose(): Promise<void>;
  startProfiling(): void;
  endProfiling(): void;
  run(feeds: SessionHandler.FeedsType, fetches: SessionHandler.FetchesType, options: InferenceSession.RunOptions): Promise<SessionHandler.ReturnType>;
}

/** Something that runs models: tilewright itself, or what `registerBackend` was given. */
export interface Backend {
  init(backendName: string): Promise<void>;
  createInferenceSessionHandler(uriOrBuffer: string | Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSessionHandler>;
}

export const InferenceSession: InferenceSessionFactory = SessionClass as unknown as InferenceSessionFactory;
