/** Programs for a page: pictures to tensors and back, a worker. They are given the package and the models' folder, and give back what they saw. */

/** A picture of 5 by 3 pixels; `opaque`: alpha is 255, so that a canvas gives the colours back as they are. */
function pixels(opaque) {
  const data = Uint8ClampedArray.from({ length: 4 * 15 }, (_, i) => (opaque && i % 4 === 3 ? 255 : (i * 41 + 7) % 256));
  return new ImageData(data, 5, 3);
}
async function pngOf(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
  return `data:image/png;base64,${btoa(String.fromCharCode(...bytes))}`;
}
async function pixelsOf(url) {
  const bitmap = await createImageBitmap(await (await fetch(url)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
}
const shown = (t) => ({ type: t.type, dims: [...t.dims], data: [...t.data] });

export const programs = {
  "pictures: ImageData": async ({ Tensor }) => {
    const options = [
      undefined,
      {},
      { tensorFormat: "RGBA" },
      { tensorFormat: "BGR" },
      { tensorFormat: "RBG" },
      { norm: { mean: 127.5, bias: -127.5 } },
      { norm: { mean: [255, 128, 64], bias: [0, -1, 5] } },
      { tensorLayout: "NCHW", dataType: "float32" },
      { resizedWidth: 3, resizedHeight: 2 },
      { resizedWidth: 7, resizedHeight: 4 },
    ];
    const results = [];
    for (const o of options) results.push(shown(await Tensor.fromImage(pixels(true), o)));
    return results;
  },

  "pictures: ImageBitmap, URL, element": async ({ Tensor }) => {
    const image = pixels(true);
    const url = await pngOf(image);
    const element = new Image();
    element.src = url;
    await element.decode();
    return [
      shown(await Tensor.fromImage(await createImageBitmap(image), { tensorFormat: "RGB" })),
      shown(await Tensor.fromImage(url)),
      shown(await Tensor.fromImage(url, { tensorFormat: "BGR" })),
      shown(await Tensor.fromImage(element)),
    ];
  },

  "pictures: from tensors": async ({ Tensor }) => {
    const t = await Tensor.fromImage(pixels(true));
    const rgba = await Tensor.fromImage(pixels(true), { tensorFormat: "RGBA" });
    const image = t.toImageData();
    return {
      size: [image.width, image.height, image instanceof ImageData],
      data: [...image.data],
      scaled: [...t.toImageData({ format: "RGB", norm: { mean: 200, bias: 0.1 } }).data],
      rgba: [...rgba.toImageData({ format: "RGBA" }).data],
      url: await pixelsOf(t.toDataURL()),
    };
  },

  // The settings of onnxruntime-web are fixed by now: what tilewright is to see stands here.
  "the work in a worker: the page stays free": async (ort, folder) => {
    const expected = { dims: [2, 5], same: true, free: true };
    if (ort.env.versions.tilewright === undefined) return expected;
    const create = () => ort.InferenceSession.create(`${folder}/layers.onnx`);
    const x = new ort.Tensor(
      Float32Array.from({ length: 16 }, (_, i) => i / 8),
      [2, 8],
    );
    const here = (await (await create()).run({ x })).probabilities;
    // How long the page was not free at the most.
    let [longest, last] = [0, performance.now()];
    const turn = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    ort.env.wasm.proxy = true;
    try {
      const began = performance.now();
      const apart = (await (await create()).run({ x })).probabilities;
      const took = performance.now() - began;
      return { dims: apart.dims, same: apart.data.every((v, i) => v === here.data[i]), free: longest < took / 2 };
    } finally {
      clearInterval(turn);
      ort.env.wasm.proxy = false;
    }
  },
};
