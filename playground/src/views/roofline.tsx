import { scaleLog } from "d3-scale";
import { useState } from "preact/hooks";
import type { ProfileView } from "../../../src/explorer/types.ts";
import { percent, significant } from "../format.ts";
import { openKernel } from "../state.ts";
import { type KernelTotal, byKernel } from "./timing.tsx";

const size = { width: 560, height: 380 };
const margin = { left: 56, right: 16, top: 16, bottom: 48 };

interface Point extends KernelTotal {
  /** Operations per byte, and GFLOP/s. */
  readonly x: number;
  readonly y: number;
}

/**
 * The roofline: speed over arithmetic per byte, both logarithmic. No kernel can be above the roof, which is memory's or the
 * cache's speed at the left and the processor's at the right.
 */
export function Roofline(p: { readonly profile: ProfileView }) {
  const [chosen, setChosen] = useState<Point | null>(null);
  const { machine, launches, threads } = p.profile;
  const points = byKernel(launches).flatMap((k): Point[] =>
    k.operations === null || k.bytes === null || k.operations === 0 || k.bytes === 0 || k.ms === 0
      ? []
      : [{ ...k, x: k.operations / k.bytes, y: k.operations / k.ms / 1e6 }],
  );
  if (points.length === 0) return <p class="muted">No kernel of this model is known to do arithmetic, so there is nothing to compare.</p>;
  const peak = machine.gflops * threads;
  const xs = [...points.map((q) => q.x), peak / machine.memoryGBs];
  const ys = [...points.map((q) => q.y), peak];
  const x = scaleLog()
    .domain([Math.min(...xs, 0.5) / 2, Math.max(...xs) * 3])
    .range([margin.left, size.width - margin.right]);
  const y = scaleLog()
    .domain([Math.min(...ys) / 2, Math.max(...ys) * 1.8])
    .range([size.height - margin.bottom, margin.top]);
  const longest = Math.max(...points.map((q) => q.ms));
  const total = launches.reduce((n, l) => n + l.ms, 0);
  return (
    <figure class="chart">
      <svg
        viewBox={`0 0 ${size.width} ${size.height}`}
        role="img"
        aria-label={`Roofline of ${points.length} kernels; the list beside it has the same kernels`}
      >
        <Axes x={x} y={y} />
        <Roof x={x} y={y} speed={machine.cacheGBs} peak={peak} name="nearest cache" dashed />
        <Roof x={x} y={y} speed={machine.memoryGBs} peak={peak} name="memory" />
        {[...points].reverse().map((q) => (
          // The list of kernels beside the chart leads to the same places by keyboard.
          // biome-ignore lint/a11y/noStaticElementInteractions: see above
          <circle
            key={q.kernel}
            class={chosen?.kernel === q.kernel ? "point on" : "point"}
            cx={x(q.x)}
            cy={y(q.y)}
            r={4 + 12 * Math.sqrt(q.ms / longest)}
            onMouseEnter={() => setChosen(q)}
            onMouseLeave={() => setChosen(null)}
            onClick={() => openKernel(q.kernel)}
          />
        ))}
        <text class="axis-title" x={(margin.left + size.width - margin.right) / 2} y={size.height - 8}>
          operations per byte of data
        </text>
        <text class="axis-title" transform={`translate(14 ${(size.height - margin.bottom + margin.top) / 2}) rotate(-90)`}>
          GFLOP/s
        </text>
      </svg>
      <figcaption class="muted" aria-live="polite">
        {chosen === null
          ? `Each circle is a kernel; its area is its share of the time. Above the line of memory a kernel works from caches. Kernels that only move data have no place here.`
          : `${chosen.name}: ${significant(chosen.y)} GFLOP/s, ${percent(chosen.y / peak)} of the peak; ${significant(chosen.x)} operations per byte; ${percent(chosen.ms / total)} of the time`}
      </figcaption>
    </figure>
  );
}

type Scale = ReturnType<typeof scaleLog<number, number>>;

/** The powers of ten of a scale's domain; with few of them also what lies between. */
function ticks(s: Scale): number[] {
  const [a = 1, b = 10] = s.domain();
  const out: number[] = [];
  const factors = Math.log10(b / a) < 2.2 ? [1, 2, 5] : [1];
  for (let e = Math.floor(Math.log10(a)); e <= Math.log10(b); e++) for (const f of factors) out.push(f * 10 ** e);
  return out.filter((t) => t >= a && t <= b);
}

function Axes(p: { readonly x: Scale; readonly y: Scale }) {
  const bottom = size.height - margin.bottom;
  return (
    <g class="axes">
      {ticks(p.x).map((t) => (
        <g key={t}>
          <line x1={p.x(t)} x2={p.x(t)} y1={margin.top} y2={bottom} />
          <text x={p.x(t)} y={bottom + 16}>
            {significant(t)}
          </text>
        </g>
      ))}
      {ticks(p.y).map((t) => (
        <g key={t}>
          <line x1={margin.left} x2={size.width - margin.right} y1={p.y(t)} y2={p.y(t)} />
          <text class="y" x={margin.left - 6} y={p.y(t) + 4}>
            {significant(t)}
          </text>
        </g>
      ))}
    </g>
  );
}

function Roof(p: {
  readonly x: Scale;
  readonly y: Scale;
  readonly speed: number;
  readonly peak: number;
  readonly name: string;
  readonly dashed?: boolean;
}) {
  const { x, y, speed, peak } = p;
  const [left = 0, right = 1] = x.domain();
  const [low = 0] = y.domain();
  const ridge = Math.min(right, Math.max(left, peak / speed));
  const from = Math.max(left, low / speed);
  const middle = Math.sqrt(from * ridge);
  const angle = (Math.atan2(y(ridge * speed) - y(from * speed), x(ridge) - x(from)) * 180) / Math.PI;
  return (
    <g class={p.dashed ? "roof dashed" : "roof"}>
      <path d={`M${x(from)},${y(from * speed)} L${x(ridge)},${y(Math.min(peak, ridge * speed))} L${x(right)},${y(peak)}`} />
      {ridge > from * 1.5 ? (
        <text transform={`translate(${x(middle)} ${y(middle * speed) - 6}) rotate(${angle})`}>
          {p.name}, {significant(speed)} GB/s
        </text>
      ) : null}
    </g>
  );
}
