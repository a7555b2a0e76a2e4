/** A picture: red, green, blue and alpha of each pixel, 0…255, row by row. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** How a picture becomes a tensor. */
export interface PictureLayout {
  readonly dims: readonly number[];
  readonly channels: 1 | 3;
  readonly height: number;
  readonly width: number;
  readonly last: boolean;
}

/** Finds channels, height and width in an input's shape: [1,] C, H, W or H, W, C, or H, W alone. Null when it is no picture's shape. */
export function pictureLayout(dims: readonly number[]): PictureLayout | null {
  const inner = dims.length === 4 && dims[0] === 1 ? dims.slice(1) : dims;
  const channelCount = (n: number | undefined): n is 1 | 3 => n === 1 || n === 3;
  const [a, b, c] = inner as [number, number, number];
  if (inner.length === 2) return { dims, channels: 1, height: a, width: b, last: false };
  if (inner.length !== 3) return null;
  if (channelCount(a)) return { dims, channels: a, height: b, width: c, last: false };
  if (channelCount(c)) return { dims, channels: c, height: a, width: b, last: true };
  return null;
}

/** One number for each channel, or one for all. */
export interface Normalization {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/**
 * Resizes bilinearly (pixel centres at half integers, as most image libraries do), scales to 0…1, subtracts the mean and
 * divides by the deviation. Grey is the luma of ITU-R BT.601.
 */
export function pictureToTensor(p: Picture, layout: PictureLayout, { mean, std }: Normalization): Float32Array {
  const { channels, height, width, last } = layout;
  const out = new Float32Array(channels * height * width);
  const of = (list: readonly number[], c: number, otherwise: number): number => list[list.length === 1 ? 0 : c] ?? otherwise;
  const sample = (x: number, y: number, c: number): number => {
    const at = (y * p.width + x) * 4;
    const [r, g, b] = [p.data[at] as number, p.data[at + 1] as number, p.data[at + 2] as number];
    return channels === 1 ? 0.299 * r + 0.587 * g + 0.114 * b : c === 0 ? r : c === 1 ? g : b;
  };
  const source = (i: number, size: number, from: number): [number, number, number] => {
    const at = Math.min(Math.max(((i + 0.5) * from) / size - 0.5, 0), from - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  for (let y = 0; y < height; y++) {
    const [y0, y1, fy] = source(y, height, p.height);
    for (let x = 0; x < width; x++) {
      const [x0, x1, fx] = source(x, width, p.width);
      for (let c = 0; c < channels; c++) {
        const top = sample(x0, y0, c) * (1 - fx) + sample(x1, y0, c) * fx;
        const bottom = sample(x0, y1, c) * (1 - fx) + sample(x1, y1, c) * fx;
        const v = (top * (1 - fy) + bottom * fy) / 255;
        out[last ? (y * width + x) * channels + c : (c * height + y) * width + x] = (v - of(mean, c, 0)) / of(std, c, 1);
      }
    }
  }
  return out;
}
