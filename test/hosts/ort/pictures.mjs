/** Programs for a page: pictures to tensors and back. They are given the package, and give back what they saw. */

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
};
