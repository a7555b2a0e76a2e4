import { UnsupportedError, UserError } from "../base/errors.ts";
import type { ImageFormat, Tensor, TensorFromUrlOptions, TensorToImageDataOptions } from "./tensor.ts";

/** Pictures to tensors and back. Pixels are RGBA bytes, as a canvas gives them. */

export type PictureOptions = TensorFromUrlOptions;

interface Pixels {
  readonly width: number;
  readonly height: number;
  /** RGBA. */
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** Which channel of RGBA each plane of a tensor is. */
const channelsOf: Readonly<Record<ImageFormat, readonly number[]>> = { RGB: [0, 1, 2], RGBA: [0, 1, 2, 3], BGR: [2, 1, 0], RBG: [0, 2, 1] };

function channels(format: ImageFormat): readonly number[] {
  const order = channelsOf[format];
  if (order === undefined) throw new UserError("image-format", `unknown image format '${format}'; there are: ${Object.keys(channelsOf).join(", ")}`);
  return order;
}

type Norm = number | readonly number[] | undefined;
/** What a channel of RGBA is shifted or scaled by. */
function perChannel(given: Norm, channel: number, otherwise: number): number {
  return (typeof given === "number" ? given : given?.[channel]) ?? otherwise;
}

interface PictureData {
  readonly type: "float32" | "uint8";
  readonly data: Float32Array | Uint8Array;
  readonly dims: readonly number[];
}

/**
 * A picture (ImageData or what has its fields, an image element, a bitmap, or a URL) as elements (byte + bias) / mean.
 * @throws UserError for what is no picture; UnsupportedError where this engine cannot decode or draw it
 */
export async function pictureOf(image: unknown, options: PictureOptions): Promise<PictureData> {
  const isElement = typeof HTMLImageElement !== "undefined" && image instanceof HTMLImageElement;
  const pixels = await readPixels(image, options);
  const { norm, dataType = "float32", tensorLayout = "NCHW" } = options;
  const order = channels(options.tensorFormat ?? (isElement ? "RGBA" : "RGB"));
  const { width, height } = pixels;
  const n = width * height;
  const data = dataType === "uint8" ? new Uint8ClampedArray(order.length * n) : new Float32Array(order.length * n);
  const [step, plane] = tensorLayout === "NHWC" ? [order.length, 1] : [1, n];
  order.forEach((channel, c) => {
    const bias = perChannel(norm?.bias, channel, 0);
    const mean = perChannel(norm?.mean, channel, dataType === "uint8" ? 1 : 255);
    for (let i = 0; i < n; i++) data[i * step + c * plane] = ((pixels.data[4 * i + channel] as number) + bias) / mean;
  });
  const dims = tensorLayout === "NHWC" ? [1, height, width, order.length] : [1, order.length, height, width];
  return { type: dataType, data: data instanceof Float32Array ? data : new Uint8Array(data.buffer), dims };
}

async function readPixels(image: unknown, o: PictureOptions): Promise<Pixels> {
  if (typeof image === "string") return drawn(await decoded(image), null, null);
  if (typeof ImageBitmap !== "undefined" && image instanceof ImageBitmap) return drawn(image, null, null);
  const [width, height] = o.resizedWidth === undefined || o.resizedHeight === undefined ? [null, null] : [o.resizedWidth, o.resizedHeight];
  if (typeof HTMLImageElement !== "undefined" && image instanceof HTMLImageElement) return drawn(image, width, height);
  if (isPixels(image)) return width === null ? image : framed(image, width, height as number);
  throw new UserError(
    "image",
    "a tensor can be made of an ImageData (or { data, width, height } with RGBA bytes), an image element, an ImageBitmap or a URL",
  );
}

function isPixels(x: unknown): x is Pixels {
  if (typeof x !== "object" || x === null) return false;
  const { data, width, height } = x as Partial<Pixels>;
  if (!ArrayBuffer.isView(data) || typeof width !== "number" || typeof height !== "number") return false;
  if (data.length !== 4 * width * height)
    throw new UserError("image", `a picture of ${width} x ${height} pixels has ${4 * width * height} bytes (RGBA), got ${data.length}`);
  return true;
}

/** The picture's upper left part in a frame of another size, black where it ends; not scaled, as in the original. */
function framed(p: Pixels, width: number, height: number): Pixels {
  const data = new Uint8ClampedArray(4 * width * height);
  const row = 4 * Math.min(width, p.width);
  for (let y = 0; y < Math.min(height, p.height); y++) data.set(p.data.subarray(4 * y * p.width, 4 * y * p.width + row), 4 * y * width);
  return { width, height, data };
}

/** A picture from a URL, decoded by the engine. */
async function decoded(url: string): Promise<ImageBitmap> {
  if (typeof createImageBitmap === "undefined")
    throw new UnsupportedError("image", "this engine decodes no pictures: give fromImage the pixels, as { data, width, height } with RGBA bytes");
  const response = await fetch(url);
  if (!response.ok) throw new UserError("image", `${url}: HTTP status ${response.status}`);
  return createImageBitmap(await response.blob());
}

/** The pixels of something that can be drawn. */
function drawn(image: ImageBitmap | HTMLImageElement, width: number | null, height: number | null): Pixels {
  // Every engine with SIMD has this canvas, in workers too.
  const context = typeof OffscreenCanvas === "undefined" ? null : new OffscreenCanvas(image.width, image.height).getContext("2d");
  if (context === null)
    throw new UnsupportedError("image", "this engine has no canvas: give fromImage the pixels, as { data, width, height } with RGBA bytes");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, width ?? image.width, height ?? image.height) as Pixels;
}

/** A tensor's elements as pixels: (element - bias) * mean. @throws UserError when it is no picture */
export function pixelsOf(tensor: Tensor, options: TensorToImageDataOptions = {}): Pixels {
  const { format = "RGB", tensorLayout = "NCHW", norm } = options;
  const interleaved = tensorLayout === "NHWC";
  const [, a = 0, b = 0, c = 0] = tensor.dims;
  const [count, height, width] = interleaved ? [c, a, b] : [a, b, c];
  const order = channels(format);
  if (tensor.dims.length !== 4 || tensor.dims[0] !== 1 || count !== order.length)
    throw new UserError(
      "image",
      `a picture of format ${format} and layout ${tensorLayout} is a tensor ${interleaved ? `[1, height, width, ${order.length}]` : `[1, ${order.length}, height, width]`}, got [${tensor.dims.join(", ")}]`,
    );
  const n = width * height;
  const data = new Uint8ClampedArray(4 * n).fill(255);
  const elements = tensor.data as ArrayLike<number>;
  const [step, plane] = interleaved ? [count, 1] : [1, n];
  order.forEach((channel, k) => {
    const bias = perChannel(norm?.bias, channel, 0);
    const mean = perChannel(norm?.mean, channel, 255);
    for (let i = 0; i < n; i++) data[4 * i + channel] = ((elements[i * step + k * plane] as number) - bias) * mean;
  });
  return { width, height, data };
}
