import { TensorClass } from "./tensor-class.ts";

/**
 * The types of tensors in the API of onnxruntime-common 1.30, in words of our own. Namespaces of types only: programs name
 * them so (`Tensor.Type`, `InferenceSession.SessionOptions`).
 */

/** A type of the page where it has one (`GPUBuffer`, …), else the fallback. */
export type TryGetGlobalType<Name extends string, Fallback = unknown> = typeof globalThis extends { [K in Name]: { prototype: infer T } }
  ? T
  : Fallback;

export declare namespace Tensor {
  /** What holds the elements, by type. float16 is a Float16Array where the engine has that class, as in the original. */
  interface DataTypeMap {
    float32: Float32Array;
    uint8: Uint8Array;
    int8: Int8Array;
    uint16: Uint16Array;
    int16: Int16Array;
    int32: Int32Array;
    int64: BigInt64Array;
    string: string[];
    bool: Uint8Array;
    float16: Uint16Array;
    float64: Float64Array;
    uint32: Uint32Array;
    uint64: BigUint64Array;
    uint4: Uint8Array;
    int4: Int8Array;
  }
  interface ElementTypeMap {
    float32: number;
    uint8: number;
    int8: number;
    uint16: number;
    int16: number;
    int32: number;
    int64: bigint;
    string: string;
    bool: boolean;
    float16: number;
    float64: number;
    uint32: number;
    uint64: bigint;
    uint4: number;
    int4: number;
  }
  type Type = keyof DataTypeMap;
  type DataType = DataTypeMap[Type];
  type ElementType = ElementTypeMap[Type];
  type CpuPinnedDataTypes = Exclude<Type, "string">;
  type TextureType = WebGLTexture;
  type TextureDataTypes = "float32";
  type GpuBufferTypeFallback = { size: number; mapState: "unmapped" | "pending" | "mapped" };
  type GpuBufferType = TryGetGlobalType<"GPUBuffer", GpuBufferTypeFallback>;
  type MLTensorTypeFallback = { destroy(): void };
  type MLTensorType = TryGetGlobalType<"MLTensor", MLTensorTypeFallback>;
  type GpuBufferDataTypes = "float32" | "float16" | "int32" | "int64" | "uint32" | "uint8" | "bool";
  type MLTensorDataTypes = "float32" | "float16" | "int8" | "uint8" | "int32" | "uint32" | "int64" | "uint64" | "bool" | "uint4" | "int4";
  /** Where the elements are; `none` once the tensor was disposed of. */
  type DataLocation = "none" | "cpu" | "cpu-pinned" | "texture" | "gpu-buffer" | "ml-tensor";
}

export interface TypedTensor<T extends Tensor.Type> {
  readonly dims: readonly number[];
  readonly type: T;
  /** The number of elements. */
  readonly size: number;
  /** @throws UserError when the elements are not in JavaScript's memory, or the tensor was disposed of */
  readonly data: Tensor.DataTypeMap[T];
  readonly location: Tensor.DataLocation;
  /** @throws UserError when the elements are no texture */
  readonly texture: Tensor.TextureType;
  /** @throws UserError when the elements are in no WebGPU buffer */
  readonly gpuBuffer: Tensor.GpuBufferType;
  /** @throws UserError when the elements are in no MLTensor */
  readonly mlTensor: Tensor.MLTensorType;
  /** The elements, fetched from where they are; `releaseData` frees them there. */
  getData(releaseData?: boolean): Promise<Tensor.DataTypeMap[T]>;
  /** Lets go of the elements. */
  dispose(): void;
  /** A PNG picture as a data: URL. No canvas is needed. */
  toDataURL(options?: TensorToDataUrlOptions): string;
  toImageData(options?: TensorToImageDataOptions): ImageData;
  /** The same elements with other dims. */
  reshape(dims: readonly number[]): TypedTensor<T>;
}

export interface Tensor extends TypedTensor<Tensor.Type> {}

export type ImageFormat = "RGB" | "RGBA" | "BGR" | "RBG";
export type ImageTensorLayout = "NHWC" | "NCHW";
export interface OptionsFormat {
  format?: ImageFormat;
}
export interface OptionsTensorFormat {
  tensorFormat?: ImageFormat;
}
export interface OptionsTensorDataType {
  dataType?: "float32" | "uint8";
}
export interface OptionsTensorLayout {
  tensorLayout?: ImageTensorLayout;
}
export interface OptionsDimensions {
  height?: number;
  width?: number;
}
export interface OptionResizedDimensions {
  resizedHeight?: number;
  resizedWidth?: number;
}
/** From a picture's bytes to elements: (byte + bias) / mean; back: (element - bias) * mean. */
export interface OptionsNormalizationParameters {
  norm?: {
    bias?: number | [number, number, number] | [number, number, number, number];
    mean?: number | [number, number, number] | [number, number, number, number];
  };
}
interface FromPicture
  extends OptionResizedDimensions,
    OptionsTensorFormat,
    OptionsTensorLayout,
    OptionsTensorDataType,
    OptionsNormalizationParameters {}
export interface TensorFromImageDataOptions extends FromPicture {}
export interface TensorFromImageElementOptions extends FromPicture {}
export interface TensorFromImageBitmapOptions extends FromPicture {}
export interface TensorFromUrlOptions extends OptionsDimensions, FromPicture {}
export interface TensorToDataUrlOptions extends OptionsTensorLayout, OptionsFormat, OptionsNormalizationParameters {}
export interface TensorToImageDataOptions extends OptionsTensorLayout, OptionsFormat, OptionsNormalizationParameters {}

interface Described<T> {
  readonly dims: readonly number[];
  readonly type: T;
}
interface OnDevice<T extends Tensor.Type> {
  /** Fetches the elements; without it they stay where they are. */
  download?(): Promise<Tensor.DataTypeMap[T]>;
  /** Called when the tensor is disposed of. */
  dispose?(): void;
}
export interface CpuPinnedConstructorParameters<T extends Tensor.CpuPinnedDataTypes = Tensor.CpuPinnedDataTypes> extends Described<T> {
  readonly location: "cpu-pinned";
  readonly data: Tensor.DataTypeMap[T];
}
export interface TextureConstructorParameters<T extends Tensor.TextureDataTypes = Tensor.TextureDataTypes> extends Described<T>, OnDevice<T> {
  readonly location: "texture";
  readonly texture: Tensor.TextureType;
}
export interface GpuBufferConstructorParameters<T extends Tensor.GpuBufferDataTypes = Tensor.GpuBufferDataTypes> extends Described<T>, OnDevice<T> {
  readonly location: "gpu-buffer";
  readonly gpuBuffer: Tensor.GpuBufferType;
}
export interface MLTensorConstructorParameters<T extends Tensor.MLTensorDataTypes = Tensor.MLTensorDataTypes> extends Described<T>, OnDevice<T> {
  readonly location: "ml-tensor";
  readonly mlTensor: Tensor.MLTensorType;
}
export interface TensorFromTextureOptions<T extends Tensor.TextureDataTypes> extends Required<OptionsDimensions>, OptionsFormat, OnDevice<T> {}
export interface TensorFromGpuBufferOptions<T extends Tensor.GpuBufferDataTypes> extends OnDevice<T> {
  readonly dims: readonly number[];
  dataType?: T;
}
export interface TensorFromMLTensorOptions<T extends Tensor.MLTensorDataTypes> extends OnDevice<T> {
  readonly dims: readonly number[];
  dataType?: T;
}

type PictureTensor = Promise<TypedTensor<"float32"> | TypedTensor<"uint8">>;
export interface TensorFactory {
  /** A tensor [1, channels, height, width] of a picture's pixels. */
  fromImage(imageData: ImageData, options?: TensorFromImageDataOptions): PictureTensor;
  fromImage(imageElement: HTMLImageElement, options?: TensorFromImageElementOptions): PictureTensor;
  fromImage(urlSource: string, options?: TensorFromUrlOptions): PictureTensor;
  fromImage(bitmap: ImageBitmap, options: TensorFromImageBitmapOptions): PictureTensor;
  fromTexture<T extends Tensor.TextureDataTypes = "float32">(
    texture: Tensor.TextureType,
    options: TensorFromTextureOptions<T>,
  ): TypedTensor<"float32">;
  fromGpuBuffer<T extends Tensor.GpuBufferDataTypes>(buffer: Tensor.GpuBufferType, options: TensorFromGpuBufferOptions<T>): TypedTensor<T>;
  fromMLTensor<T extends Tensor.MLTensorDataTypes>(tensor: Tensor.MLTensorType, options: TensorFromMLTensorOptions<T>): TypedTensor<T>;
  fromPinnedBuffer<T extends Tensor.CpuPinnedDataTypes>(type: T, buffer: Tensor.DataTypeMap[T], dims?: readonly number[]): TypedTensor<T>;
}

/** Without dims a tensor has one dimension. @throws UserError for data that do not fit the type or the dims */
export interface TensorConstructor extends TensorFactory {
  new (type: "string", data: Tensor.DataTypeMap["string"] | readonly string[], dims?: readonly number[]): TypedTensor<"string">;
  new (type: "bool", data: Tensor.DataTypeMap["bool"] | readonly boolean[], dims?: readonly number[]): TypedTensor<"bool">;
  new (type: "uint8", data: Uint8ClampedArray, dims?: readonly number[]): TypedTensor<"uint8">;
  new <T extends "uint64" | "int64">(
    type: T,
    data: Tensor.DataTypeMap[T] | readonly bigint[] | readonly number[],
    dims?: readonly number[],
  ): TypedTensor<T>;
  new <T extends Exclude<Tensor.Type, "string" | "bool" | "uint64" | "int64">>(
    type: T,
    data: Tensor.DataTypeMap[T] | readonly number[],
    dims?: readonly number[],
  ): TypedTensor<T>;
  new (data: Float32Array, dims?: readonly number[]): TypedTensor<"float32">;
  new (data: Int8Array, dims?: readonly number[]): TypedTensor<"int8">;
  new (data: Uint8Array, dims?: readonly number[]): TypedTensor<"uint8">;
  new (data: Uint8ClampedArray, dims?: readonly number[]): TypedTensor<"uint8">;
  new (data: Uint16Array, dims?: readonly number[]): TypedTensor<"uint16">;
  new (data: Int16Array, dims?: readonly number[]): TypedTensor<"int16">;
  new (data: Int32Array, dims?: readonly number[]): TypedTensor<"int32">;
  new (data: BigInt64Array, dims?: readonly number[]): TypedTensor<"int64">;
  new (data: readonly string[], dims?: readonly number[]): TypedTensor<"string">;
  new (data: readonly boolean[], dims?: readonly number[]): TypedTensor<"bool">;
  new (data: Float64Array, dims?: readonly number[]): TypedTensor<"float64">;
  new (data: Uint32Array, dims?: readonly number[]): TypedTensor<"uint32">;
  new (data: BigUint64Array, dims?: readonly number[]): TypedTensor<"uint64">;
  new (
    type: Tensor.Type,
    data: Tensor.DataType | readonly number[] | readonly string[] | readonly bigint[] | readonly boolean[],
    dims?: readonly number[],
  ): Tensor;
  new (data: Tensor.DataType, dims?: readonly number[]): Tensor;
}

export const Tensor: TensorConstructor = TensorClass as unknown as TensorConstructor;
