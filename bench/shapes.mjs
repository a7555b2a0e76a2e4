// Shapes outside of the model suite, drawn from a seed, as graphs: what defaults are held against (defaults.mjs).

/**
 * `count` shapes as `{ name, build(graphBuilder) }`, whose `build` gives the result: kinds in turn, each with sizes drawn from
 * its ranges, odd ones as likely as round ones. `f32` and `hostFrom` are those of the build that is measured.
 */
export function drawShapes({ f32, hostFrom, random }, count) {
  const between = (low, high) => Math.round(low * (high / low) ** random());
  const pick = (...items) => items[Math.floor(random() * items.length)];
  const channels = () => pick(between(12, 48), 8 * between(2, 40), 16 * between(1, 24));
  const kinds = [matmul, convolution, depthwise, convolution, softmax, matmul, pointwise, normalisation, grouped, attention];
  return Array.from({ length: count }, (_, i) => kinds[i % kinds.length](maker({ f32, hostFrom, between, pick, channels })));
}

/** Graph parts, for the sizes that a kind draws. */
function maker(tools) {
  const { f32, hostFrom } = tools;
  return {
    ...tools,
    params: (g, dims, name = "x") => g.param(name, { dtype: f32, dims }),
    constant: (g, dims, name) =>
      g.host(
        hostFrom(f32, dims, (i) => Math.sin(i * 12.9898) * 0.5),
        name,
      ),
    splat: (g, dims, v) => g.splat(f32, dims, v),
  };
}

function matmul({ between, pick, params, constant }) {
  const [m, k, n] = [between(1, 500), between(64, 1200), between(64, 1200)];
  const isConstant = pick(true, false);
  return {
    name: `matmul ${m}x${k}x${n}${isConstant ? ", constant right side" : ""}`,
    build(g) {
      const [a, b] = [params(g, [m, k]), isConstant ? constant(g, [k, n], "w") : params(g, [k, n], "b")];
      return g.one("dot", [a, b], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
    },
  };
}

/** `x` convolved with constant weights, then a bias and a rectifier. */
function convolve({ params, constant, splat }, g, { c, f, h, w, kernel, stride, dilation, groups }) {
  const pad = ((kernel - 1) * dilation) >> 1;
  const y = g.one("convolution", [params(g, [1, c, h, w]), constant(g, [f, c / groups, kernel, kernel], "w")], {
    strides: [stride, stride],
    pads: [
      [pad, pad],
      [pad, pad],
    ],
    dilation: [dilation, dilation],
    inputDilation: [1, 1],
    groups,
    xDims: [0, 1, 2, 3],
    wDims: [0, 1, 2, 3],
    resultDims: [0, 1, 2, 3],
  });
  const biased = g.one("add", [y, g.broadcast(constant(g, [f], "bias"), y.dims, [1])]);
  return g.one("max", [biased, splat(g, y.dims, 0)]);
}
function convolutionOf(tools, kind, s) {
  const more = `${s.stride > 1 ? `, stride ${s.stride}` : ""}${s.dilation > 1 ? `, dilation ${s.dilation}` : ""}${s.groups > 1 && kind === "grouped" ? `, ${s.groups} groups` : ""}`;
  return { name: `${kind} ${s.kernel}x${s.kernel}, ${s.c} to ${s.f}, ${s.h}x${s.w}${more}`, build: (g) => convolve(tools, g, s) };
}
const plain = { stride: 1, dilation: 1, groups: 1 };

function convolution(tools) {
  const { between, pick, channels } = tools;
  const [stride, dilation] = pick([1, 1], [1, 1], [2, 1], [1, 2]);
  const size = between(10, 96);
  return convolutionOf(tools, "convolution", {
    ...plain,
    c: channels(),
    f: channels(),
    h: size,
    w: size + pick(0, 0, 3),
    kernel: pick(3, 3, 5, 7),
    stride,
    dilation,
  });
}
function pointwise(tools) {
  const { between, pick, channels } = tools;
  const size = between(14, 80);
  return convolutionOf(tools, "pointwise", { ...plain, c: channels(), f: channels(), h: size, w: size, kernel: 1, stride: pick(1, 1, 2) });
}
function depthwise(tools) {
  const { between, pick, channels } = tools;
  const [c, size] = [channels(), between(14, 112)];
  return convolutionOf(tools, "depthwise", { ...plain, c, f: c, h: size, w: size, kernel: pick(3, 3, 5), stride: pick(1, 1, 2), groups: c });
}
function grouped(tools) {
  const { between, pick } = tools;
  const [groups, size] = [pick(2, 3, 4, 8), between(10, 56)];
  return convolutionOf(tools, "grouped", {
    ...plain,
    c: groups * between(4, 32),
    f: groups * between(4, 32),
    h: size,
    w: size,
    kernel: pick(1, 3),
    groups,
  });
}
function softmax({ between, params }) {
  const dims = [between(2, 64), between(16, 400), between(10, 1500)];
  return { name: `softmax ${dims.join("x")}`, build: (g) => g.one("softmax", [params(g, dims)], { axis: 2 }) };
}

/** Layer normalisation written out: mean, variance, scale and shift over the last axis. */
function normalisation({ between, params, constant, splat }) {
  const [rows, n] = [between(16, 1000), between(64, 1500)];
  return {
    name: `normalisation ${rows}x${n}`,
    build(g) {
      const x = params(g, [rows, n]);
      const mean = (v) => g.one("div", [g.one("reduce", [v], { monoid: "add", axes: [1] }), splat(g, [rows], n)]);
      const wide = (v) => g.broadcast(v, [rows, n], [0]);
      const centred = g.one("sub", [x, wide(mean(x))]);
      const deviation = g.one("sqrt", [g.one("add", [mean(g.one("mul", [centred, centred])), splat(g, [rows], 1e-5)])]);
      const scaled = g.one("mul", [g.one("div", [centred, wide(deviation)]), g.broadcast(constant(g, [n], "scale"), [rows, n], [1])]);
      return g.one("add", [scaled, g.broadcast(constant(g, [n], "shift"), [rows, n], [1])]);
    },
  };
}
function attention({ between, pick, params, splat }) {
  const [heads, tokens, size] = [pick(4, 6, 8, 12), between(16, 400), pick(32, 48, 64)];
  return {
    name: `attention ${heads} heads, ${tokens} tokens of ${size}`,
    build(g) {
      const [q, k, v] = ["q", "k", "v"].map((n) => params(g, [heads, tokens, size], n));
      const scores = g.one("dot", [q, k], { batchA: [0], batchB: [0], contractA: [2], contractB: [2] });
      const scaled = g.one("mul", [scores, splat(g, scores.dims, 1 / Math.sqrt(size))]);
      return g.one("dot", [g.one("softmax", [scaled], { axis: 2 }), v], { batchA: [0], batchB: [0], contractA: [2], contractB: [1] });
    },
  };
}
