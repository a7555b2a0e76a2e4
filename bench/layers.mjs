// The distinct convolutions of two networks, made from their published settings: what is measured layer by layer.

/** `{ channels, size, filters, kernel, stride, groups, act }`, as `convModel` takes them. */
const conv = (channels, size, filters, kernel, stride, act, groups = 1) => ({ channels, size, filters, kernel, stride, groups, act });

/**
 * ResNet-50, the variant whose 3×3 convolutions have the stride. The last convolution of a block, and its shortcut, have
 * no activation of their own: it comes after the sum.
 */
function resnet50() {
  const out = [conv(3, 224, 64, 7, 2, "relu")];
  let [channels, size] = [64, 56];
  for (const [stage, blocks] of [3, 4, 6, 3].entries()) {
    const width = 64 << stage;
    for (let b = 0; b < blocks; b++) {
      const stride = b === 0 && stage > 0 ? 2 : 1;
      out.push(conv(channels, size, width, 1, 1, "relu"), conv(width, size, width, 3, stride, "relu"));
      if (b === 0) out.push(conv(channels, size, 4 * width, 1, stride, null));
      size /= stride;
      out.push(conv(width, size, 4 * width, 1, 1, null));
      channels = 4 * width;
    }
  }
  return out;
}

/** MobileNetV2 at width 1: rows of expansion, channels, blocks, stride. */
const invertedResiduals = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];
function mobilenetV2() {
  const out = [conv(3, 224, 32, 3, 2, "relu6")];
  let [channels, size] = [32, 112];
  for (const [expansion, filters, blocks, first] of invertedResiduals) {
    for (let b = 0; b < blocks; b++) {
      const stride = b === 0 ? first : 1;
      const hidden = channels * expansion;
      if (expansion > 1) out.push(conv(channels, size, hidden, 1, 1, "relu6"));
      out.push(conv(hidden, size, hidden, 3, stride, "relu6", hidden));
      size /= stride;
      out.push(conv(hidden, size, filters, 1, 1, null));
      channels = filters;
    }
  }
  out.push(conv(channels, size, 1280, 1, 1, "relu6"));
  return out;
}

function distinct(layers) {
  const counts = new Map();
  for (const layer of layers) {
    const key = JSON.stringify(layer);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => ({ ...JSON.parse(key), count }));
}

/** The distinct layers by network, in order, each with its `count` in the network. */
export const layersOf = { resnet50: distinct(resnet50()), mobilenet_v2: distinct(mobilenetV2()) };

/** `3×3 s2 dw 96→96 @112`: kernel, stride, depthwise or groups, channels, size of the input. */
export function layerLabel(c) {
  const kind = c.groups === 1 ? "" : c.groups === c.channels ? " dw" : ` g${c.groups}`;
  return `${c.kernel}×${c.kernel}${c.stride === 1 ? "" : ` s${c.stride}`}${kind} ${c.channels}→${c.filters} @${c.size}`;
}
