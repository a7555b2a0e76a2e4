import { useEffect, useRef } from "preact/hooks";
import type { Picture, PictureLayout } from "../../../src/data/pictures.ts";

const urls = import.meta.glob<string>("../../../examples/digits/pictures/*-a.png", { eager: true, query: "?url", import: "default" });

/** The pictures that come with the example. */
export const examplePictures = Object.entries(urls).map(([path, url]) => ({ name: path.replace(/^.*\//, ""), url }));

/** Pictures of more pixels than this are refused: a small file can claim any size. */
const mostPixels = 1 << 26;

/** Decodes what the browser can. @throws Error with words for what it cannot */
export async function decodePicture(file: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("this browser cannot decode the picture");
  });
  const { width, height } = bitmap;
  if (width * height > mostPixels) throw new Error(`the picture has ${width} × ${height} pixels; at most ${mostPixels} are taken`);
  const c = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (c === null) throw new Error("this browser gives no canvas to decode pictures on");
  c.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, data: new Uint8Array(c.getImageData(0, 0, width, height).data.buffer) };
}

/** What the model sees: the tensor as a picture, its range stretched to black and white. */
export function PicturePreview(p: { readonly layout: PictureLayout; readonly data: Float32Array }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width, height, channels, last } = p.layout;
  useEffect(() => {
    const c = canvas.current?.getContext("2d");
    if (c === null || c === undefined) return;
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const v of p.data) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
    const image = c.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let k = 0; k < 3; k++) {
        const channel = channels === 1 ? 0 : k;
        const v = p.data[last ? i * channels + channel : channel * width * height + i] ?? 0;
        image.data[4 * i + k] = (255 * (v - low)) / (high - low || 1);
      }
      image.data[4 * i + 3] = 255;
    }
    c.putImageData(image, 0, 0);
  }, [p.data, p.layout]);
  return (
    <figure class="preview">
      <canvas ref={canvas} width={width} height={height} class={width <= 64 ? "pixels" : ""} />
      <figcaption class="muted">
        What the model sees: {width} × {height}
      </figcaption>
    </figure>
  );
}

const padSize = 224;

/** A pad to draw on, white on black; the model runs when a stroke ends. */
export function DrawPad(p: { readonly layout: PictureLayout; readonly onDraw: (picture: Picture) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useRef(false);
  const { width, height } = p.layout;
  const scale = padSize / Math.max(width, height);
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  const context = () => canvas.current?.getContext("2d", { willReadFrequently: true }) ?? null;
  const clear = () => {
    const c = context();
    if (c === null) return;
    c.fillStyle = "#000";
    c.fillRect(0, 0, w, h);
  };
  useEffect(clear, [w, h]);
  const give = () => {
    const c = context();
    if (c !== null) p.onDraw({ width: w, height: h, data: new Uint8Array(c.getImageData(0, 0, w, h).data.buffer) });
  };
  return (
    <div class="pad">
      <canvas
        ref={canvas}
        width={w}
        height={h}
        role="img"
        aria-label="Drawing pad; without a pointer, choose a file instead"
        onPointerDown={(e) => {
          const c = context();
          if (c === null) return;
          e.currentTarget.setPointerCapture(e.pointerId);
          drawing.current = true;
          c.strokeStyle = "#fff";
          c.lineWidth = padSize / 9;
          c.lineCap = "round";
          c.lineJoin = "round";
          c.beginPath();
          c.moveTo(e.offsetX, e.offsetY);
          c.lineTo(e.offsetX, e.offsetY);
          c.stroke();
        }}
        onPointerMove={(e) => {
          const c = context();
          if (c === null || !drawing.current) return;
          c.lineTo(e.offsetX, e.offsetY);
          c.stroke();
        }}
        onPointerUp={() => {
          drawing.current = false;
          give();
        }}
      />
      <button type="button" class="button quiet" onClick={clear}>
        Clear
      </button>
    </div>
  );
}
