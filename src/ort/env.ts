import { UserError } from "../base/errors.ts";
import { version } from "../version.ts";
import type { TryGetGlobalType } from "./tensor.ts";

/** The version of onnxruntime-common whose API this is. */
const apiVersion = "1.30.0";

export declare namespace Env {
  type WasmPathPrefix = string;
  interface WasmFilePaths {
    wasm?: URL | string;
    mjs?: URL | string;
  }
  type WasmPrefixOrFilePaths = WasmPathPrefix | WasmFilePaths;
  interface WebAssemblyFlags {
    /** Threads of sessions that do not say it themselves; 0 or absent: as many as suit the machine. */
    numThreads?: number;
    // All the others are about files that there are not here: taken, and without effect.
    simd?: boolean | "fixed" | "relaxed";
    trace?: boolean;
    initTimeout?: number;
    wasmPaths?: WasmPrefixOrFilePaths;
    wasmBinary?: ArrayBufferLike | Uint8Array;
    proxy?: boolean;
  }
  interface WebGLFlags {
    contextId?: "webgl" | "webgl2";
    readonly context: WebGLRenderingContext;
    matmulMaxBatchSize?: number;
    textureCacheMode?: "initializerOnly" | "full";
    pack?: boolean;
    async?: boolean;
  }
  interface WebGpuProfilingDataV1TensorMetadata {
    dims: readonly number[];
    dataType: string;
  }
  interface WebGpuProfilingDataV1 {
    version: 1;
    inputsMetadata: readonly WebGpuProfilingDataV1TensorMetadata[];
    outputsMetadata: readonly WebGpuProfilingDataV1TensorMetadata[];
    kernelId: number;
    kernelType: string;
    kernelName: string;
    programName: string;
    startTime: number;
    endTime: number;
  }
  type WebGpuProfilingData = WebGpuProfilingDataV1;
  interface WebGpuFlags {
    profilingMode?: "off" | "default";
    profiling: { mode?: "off" | "default"; ondata?: (data: WebGpuProfilingData) => void };
    powerPreference?: "low-power" | "high-performance";
    forceFallbackAdapter?: boolean;
    adapter: TryGetGlobalType<"GPUAdapter">;
    get device(): Promise<TryGetGlobalType<"GPUDevice">>;
    set device(value: TryGetGlobalType<"GPUDevice">);
    validateInputContent?: boolean;
  }
}

/** Settings of all sessions. */
export interface Env {
  /** What is written to the console: `warning` and worse, unless set. @throws UserError for other names */
  logLevel?: LogLevel;
  debug?: boolean;
  trace?: boolean;
  readonly versions: {
    readonly common: string;
    readonly web?: string;
    readonly node?: string;
    readonly "react-native"?: string;
    /** The version of this package. */
    readonly tilewright?: string;
  };
  readonly wasm: Env.WebAssemblyFlags;
  readonly webgl: Env.WebGLFlags;
  readonly webgpu: Env.WebGpuFlags;
  [name: string]: unknown;
}

type LogLevel = "verbose" | "info" | "warning" | "error" | "fatal";
/** By severity. */
const levels: readonly LogLevel[] = ["verbose", "info", "warning", "error", "fatal"];

let level: LogLevel = "warning";

export const env: Env = {
  // No `web`: programs that find it set paths of the original's files.
  versions: { common: apiVersion, tilewright: version },
  wasm: {},
  webgl: {} as Env.WebGLFlags,
  webgpu: {} as Env.WebGpuFlags,
  get logLevel(): LogLevel {
    return level;
  },
  set logLevel(value: LogLevel | undefined) {
    if (value === undefined) return;
    if (!levels.includes(value)) throw new UserError("log-level", `unknown log level '${value}'; there are: ${levels.join(", ")}`);
    level = value;
  },
};

/** Writes lines of one session to the console, those that its level lets through. */
export class Log {
  private readonly severity: number | undefined;
  private readonly id: string;
  /** @param severity 0 (verbose) to 4 (fatal); without it, that of `env` at the time of a line */
  constructor(severity?: number, id = "") {
    this.severity = severity;
    this.id = id === "" ? "" : ` ${id}`;
  }
  verbose(text: string): void {
    if (this.lets(0)) console.debug(`[tilewright/ort${this.id}] ${text}`);
  }
  warning(text: string): void {
    if (this.lets(2)) console.warn(`[tilewright/ort${this.id}] ${text}`);
  }
  private lets(severity: number): boolean {
    return severity >= (this.severity ?? levels.indexOf(level));
  }
}
