import { UnsupportedError, UserError } from "../base/errors.ts";
import { type PictureOptions, pictureOf, pixelsOf } from "./images.ts";
import { arrayClasses, arrayName, classOf, inferredType, isNumeric, isPacked, sizeOf, typeNames } from "./dtypes.ts";
import { pngUrl } from "./png.ts";
import type {
  CpuPinnedConstructorParameters,
  GpuBufferConstructorParameters,
  MLTensorConstructorParameters,
  TensorFromGpuBufferOptions,
  TensorFromMLTensorOptions,
  TensorFromTextureOptions,
  TensorToDataUrlOptions,
  TensorToImageDataOptions,
  Tensor as TensorType,
  TextureConstructorParameters,
} from "./tensor.ts";

/** Elements that are somewhere else than in JavaScript's memory. */
type Placed = TextureConstructorParameters | GpuBufferConstructorParameters | MLTensorConstructorParameters;

/** What a tensor is made of. */
interface Parts {
  readonly type: TensorType.Type;
  readonly dims: readonly number[];
  readonly location: TensorType.DataLocation;
  /** Null where they are somewhere else. */
  readonly data: TensorType.DataType | null;
  readonly placed: Placed | null;
}

/** Tensors of the API. */
export class TensorClass implements TensorType {
  readonly type: TensorType.Type;
  // A plain property: programs are known to write to it.
  readonly dims: readonly number[];
  readonly size: number;
  private place: TensorType.DataLocation;
  /** By the name that it has in the original: programs are known to look at it. */
  private cpuData: TensorType.DataType | null;
  private placed: Placed | null;
  private downloading = false;

  constructor(...args: readonly unknown[]) {
    const parts = partsOf(args);
    this.size = sizeOf(parts.dims);
    if (parts.data !== null) checkLength(parts.type, this.size, parts.dims, parts.data.length);
    this.type = parts.type;
    this.dims = parts.dims;
    this.place = parts.location;
    this.cpuData = parts.data;
    this.placed = parts.placed;
  }

  get location(): TensorType.DataLocation {
    return this.place;
  }
  get data(): TensorType.DataType {
    this.checkLives();
    if (this.cpuData === null)
      throw new UserError("tensor-location", `the tensor's elements are not in memory but in a ${this.place}: 'await getData()' fetches them`);
    return this.cpuData;
  }
  get texture(): TensorType.TextureType {
    const p = this.resource("texture");
    return (p as TextureConstructorParameters).texture;
  }
  get gpuBuffer(): TensorType.GpuBufferType {
    const p = this.resource("gpu-buffer");
    return (p as GpuBufferConstructorParameters).gpuBuffer;
  }
  get mlTensor(): TensorType.MLTensorType {
    const p = this.resource("ml-tensor");
    return (p as MLTensorConstructorParameters).mlTensor;
  }
  private resource(location: Placed["location"]): Placed {
    this.checkLives();
    if (this.placed?.location !== location)
      throw new UserError("tensor-location", `the tensor's elements are not in a ${location}; they are in: ${this.place}`);
    return this.placed;
  }
  private checkLives(): void {
    if (this.place === "none") throw new UserError("disposed", "the tensor was disposed of: make a new one");
  }

  async getData(releaseData = false): Promise<TensorType.DataType> {
    this.checkLives();
    const { placed } = this;
    if (placed === null || this.cpuData !== null) return this.data;
    if (placed.download === undefined)
      throw new UserError("tensor-location", `the tensor in a ${placed.location} was made without 'download', which would fetch its elements`);
    this.checkNotDownloading();
    this.downloading = true;
    try {
      const data = await placed.download();
      this.cpuData = data;
      this.place = "cpu";
      if (releaseData) {
        placed.dispose?.();
        this.placed = null;
      }
      return data;
    } finally {
      this.downloading = false;
    }
  }
  private checkNotDownloading(): void {
    if (this.downloading) throw new UserError("busy", "the tensor's elements are being fetched: await that first");
  }

  dispose(): void {
    this.checkNotDownloading();
    this.placed?.dispose?.();
    this.placed = null;
    this.cpuData = null;
    this.place = "none";
  }

  reshape(dims: readonly number[]): TensorType {
    this.checkLives();
    if (this.placed?.download !== undefined || this.placed?.dispose !== undefined)
      throw new UserError("tensor-location", "a tensor that owns memory of a device cannot be reshaped: fetch its elements with getData first");
    if (this.placed !== null) return new TensorClass({ ...this.placed, dims });
    if (this.place === "cpu-pinned") return new TensorClass({ location: "cpu-pinned", type: this.type, data: this.data, dims });
    return new TensorClass(this.type, this.data, dims);
  }

  toDataURL(options?: TensorToDataUrlOptions): string {
    const { width, height, data } = pixelsOf(this, options);
    return pngUrl(width, height, data);
  }
  toImageData(options?: TensorToImageDataOptions): ImageData {
    const { width, height, data } = pixelsOf(this, options);
    if (typeof ImageData === "undefined") return { width, height, data, colorSpace: "srgb" } as unknown as ImageData;
    return new ImageData(data, width, height);
  }

  static async fromImage(image: unknown, options?: PictureOptions): Promise<TensorType> {
    const { type, data, dims } = await pictureOf(image, options ?? {});
    return new TensorClass(type, data, dims);
  }
  static fromTexture(texture: TensorType.TextureType, o: TensorFromTextureOptions<"float32">): TensorType {
    return new TensorClass({ ...deviceOf(o), location: "texture", type: "float32", texture, dims: [1, o.height, o.width, 4] });
  }
  static fromGpuBuffer(gpuBuffer: TensorType.GpuBufferType, o: TensorFromGpuBufferOptions<TensorType.GpuBufferDataTypes>): TensorType {
    return new TensorClass({ ...deviceOf(o), location: "gpu-buffer", type: o.dataType ?? "float32", gpuBuffer, dims: o.dims });
  }
  static fromMLTensor(mlTensor: TensorType.MLTensorType, o: TensorFromMLTensorOptions<TensorType.MLTensorDataTypes>): TensorType {
    return new TensorClass({ ...deviceOf(o), location: "ml-tensor", type: o.dataType ?? "float32", mlTensor, dims: o.dims });
  }
  static fromPinnedBuffer(type: TensorType.CpuPinnedDataTypes, data: TensorType.DataType, dims?: readonly number[]): TensorType {
    return new TensorClass({ location: "cpu-pinned", type, data, dims: dims ?? [data.length] });
  }
}
Object.defineProperty(TensorClass, "name", { value: "Tensor" });

/** What a session makes of outputs. */
export function tensorOf(type: TensorType.Type, data: TensorType.DataType, dims: readonly number[]): TensorType {
  return new TensorClass(type, data, dims);
}

/** Has a value the shape of a tensor? Those of onnxruntime-common itself are taken like our own. */
export function isTensor(x: unknown): x is TensorType {
  return x instanceof TensorClass || (typeof x === "object" && x !== null && "type" in x && "dims" in x && "location" in x && "getData" in x);
}

function deviceOf(o: Pick<Placed, "download" | "dispose">): Pick<Placed, "download" | "dispose"> {
  return { ...(o.download === undefined ? {} : { download: o.download }), ...(o.dispose === undefined ? {} : { dispose: o.dispose }) };
}

function partsOf([first, second, third]: readonly unknown[]): Parts {
  if (typeof first === "object" && first !== null && "location" in first) return placedParts(first as Placed | CpuPinnedConstructorParameters);
  const { type, data } = typeof first === "string" ? { type: first, data: second } : { type: null, data: first };
  const dims = typeof first === "string" ? third : second;
  const made = type === null ? inferred(data) : { type: type as TensorType.Type, data: elementsOf(type, data) };
  if (dims !== undefined) sizeOf(dims);
  return { ...made, dims: (dims ?? [made.data.length]) as readonly number[], location: "cpu", placed: null };
}

/** Types that may be on a device, by location. */
const placedTypes: Readonly<Record<Placed["location"], readonly string[]>> = {
  texture: ["float32"],
  "gpu-buffer": ["float32", "float16", "int32", "int64", "uint32", "uint8", "bool", "uint4", "int4"],
  "ml-tensor": ["float32", "float16", "int32", "int64", "uint32", "uint64", "int8", "uint8", "bool", "uint4", "int4"],
};

function placedParts(p: Placed | CpuPinnedConstructorParameters): Parts {
  const { type, dims, location } = p;
  sizeOf(dims);
  if (location === "cpu-pinned") {
    if ((type as string) === "string") throw new UserError("tensor-type", "a tensor of strings cannot be in a pinned buffer");
    return { type, dims, location, data: elementsOf(type, p.data), placed: null };
  }
  const known = placedTypes[location];
  if (known === undefined) throw new UserError("tensor-location", `unknown location '${String(location)}' for a tensor's elements`);
  if (!known.includes(type))
    throw new UserError("tensor-type", `a tensor in a ${location} cannot be of type ${type}; it can be: ${known.join(", ")}`);
  return { type, dims, location, data: null, placed: p };
}

/** Type and elements of a tensor that is made of data alone. */
function inferred(data: unknown): { type: TensorType.Type; data: TensorType.DataType } {
  if (!Array.isArray(data)) {
    const type = inferredType(data);
    if (type === null)
      throw new UserError(
        "tensor-data",
        `a tensor is made of a type and data, or of a typed array or an array of strings or booleans; got ${described(data)}`,
      );
    return { type, data: elementsOf(type, data) };
  }
  const kind = typeof data[0];
  if (kind === "string") return { type: "string", data: data as string[] };
  if (kind === "boolean") return { type: "bool", data: elementsOf("bool", data) };
  throw new UserError(
    "tensor-data",
    data.length === 0
      ? "the type of an empty array is not known: give it, as in new Tensor('float32', [], [0])"
      : `the type of an array of ${kind}s is not known: give it, as in new Tensor('float32', [1, 2])`,
  );
}

/** The elements of a tensor of a type. @throws UserError for an unknown type, and data that do not fit it */
function elementsOf(type: string, data: unknown): TensorType.DataType {
  if (type === "string") {
    if (!Array.isArray(data)) throw new UserError("tensor-data", `a tensor of strings is made of an array of strings, got ${described(data)}`);
    return data as string[];
  }
  if (!isNumeric(type)) throw new UserError("tensor-type", `there is no tensor of type '${type}'; there are: ${typeNames.join(", ")}`);
  if (Array.isArray(data)) return fromNumbers(type, data);
  const classes = arrayClasses(type);
  const name = arrayName(data);
  if (!classes.includes(name))
    throw new UserError("tensor-data", `a tensor of type ${type} is made of a ${classes.join(" or ")}, got ${described(data)}`);
  if (name === "Uint8ClampedArray") return Uint8Array.from(data as Uint8ClampedArray);
  if (type === "float16" && name === "Uint16Array" && "Float16Array" in globalThis) {
    const bits = data as Uint16Array;
    return new (classOf(type))(bits.buffer, bits.byteOffset, bits.length) as TensorType.DataType;
  }
  return data as TensorType.DataType;
}

/** A typed array of an array of numbers (bigints, booleans). */
function fromNumbers(type: Exclude<TensorType.Type, "string">, values: readonly unknown[]): TensorType.DataType {
  if (isPacked(type))
    throw new UserError(
      "tensor-data",
      `a tensor of type ${type} is made of a ${arrayClasses(type).join(" or ")} with two elements in each byte, not of an array of numbers`,
    );
  const target = new (classOf(type))(values.length);
  if (type === "float16" && target instanceof Uint16Array)
    throw new UnsupportedError("float16", "this engine has no Float16Array: make tensors of type float16 of a Uint16Array that holds the bits");
  const convert = type === "int64" || type === "uint64" ? (v: unknown) => BigInt(v as number) : Number;
  values.forEach((v, i) => {
    try {
      target[i] = convert(v) as never;
    } catch {
      throw new UserError("tensor-data", `element ${i} is ${String(v)}, expected a value for a tensor of type ${type}`);
    }
  });
  return target as TensorType.DataType;
}

/** Elements of 4 bits are packed; the API also takes one byte for each. */
function checkLength(type: string, size: number, dims: readonly number[], length: number): void {
  if (length === size || (isPacked(type) && length === Math.ceil(size / 2))) return;
  throw new UserError("tensor-data", `a tensor of dims [${dims.join(", ")}] has ${size} elements, but the data have ${length}`);
}

function described(x: unknown): string {
  return arrayName(x) || (x === null ? "null" : Array.isArray(x) ? "an array" : typeof x);
}
