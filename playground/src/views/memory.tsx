import { scaleLinear } from "d3-scale";
import { useEffect, useState } from "preact/hooks";
import type { BufferRole, BufferView, MemoryView, ProgramView } from "../../../src/explorer/types.ts";
import { bytes, count } from "../format.ts";
import { client } from "../open.ts";
import { openKernel, program, sizes } from "../state.ts";
import { Empty, Facts } from "../ui/parts.tsx";
import { Origins } from "./origins.tsx";
import { Sizes } from "./sizes.tsx";

const size = { width: 1120, height: 420 };
const margin = { left: 64, right: 12, top: 10, bottom: 40 };

const roleNames: Readonly<Record<BufferRole, string>> = {
  input: "inputs",
  output: "outputs",
  value: "values between kernels",
  scratch: "scratch of a kernel",
  report: "report of a run",
};

/** The memory plan: what lies where, and when. */
export function MemoryPanel() {
  const made = program.value;
  const [plan, setPlan] = useState<MemoryView | null>(null);
  const wanted = sizes.value;
  useEffect(() => {
    if (made === null || Object.entries(wanted).every(([k, v]) => made.memory.sizes[k] === v)) {
      setPlan(null);
      return;
    }
    const control = new AbortController();
    client()
      .memory(wanted, { signal: control.signal })
      .then(setPlan, () => {});
    return () => control.abort();
  }, [made, wanted]);
  if (made === null) return <Empty title="There is no memory plan: the model could not be compiled" />;
  const memory = plan ?? made.memory;
  return (
    <div class="memory">
      <div class="card span">
        <h2>Memory of a run</h2>
        <Facts
          rows={[
            [
              "Working memory",
              `${bytes(memory.arenaBytes)} for ${count(memory.buffers.length)} buffers, which would take ${bytes(sum(memory.buffers))} side by side`,
            ],
            ["Weights", bytes(memory.weightBytes)],
            memory.grows ? ["Besides", "tensors whose sizes the model computes; they get their places as it runs"] : null,
          ]}
        />
        <Sizes />
      </div>
      <Plan memory={memory} program={made} />
      <Weights program={made} />
    </div>
  );
}

const sum = (list: readonly BufferView[]) => list.reduce((n, b) => n + b.bytes, 0);

function Plan(p: { readonly memory: MemoryView; readonly program: ProgramView }) {
  const { memory } = p;
  const [chosen, setChosen] = useState<BufferView | null>(null);
  const last = Math.max(1, memory.launches);
  const x = scaleLinear()
    .domain([-1, last + 1])
    .range([margin.left, size.width - margin.right]);
  const y = scaleLinear()
    .domain([0, Math.max(1, memory.arenaBytes)])
    .range([size.height - margin.bottom, margin.top]);
  const roles = [...new Set(memory.buffers.map((b) => b.role))];
  const bottom = size.height - margin.bottom;
  return (
    <div class="card span">
      <h2>Buffers over time</h2>
      <figure class="chart">
        <svg
          viewBox={`0 0 ${size.width} ${size.height}`}
          role="img"
          aria-label="Memory plan: buffers as rectangles, launches to the right, addresses upwards; the table below has the same buffers"
        >
          <g class="axes">
            {y.ticks(5).map((t) => (
              <g key={t}>
                <line x1={margin.left} x2={size.width - margin.right} y1={y(t)} y2={y(t)} />
                <text class="y" x={margin.left - 6} y={y(t) + 4}>
                  {bytes(t)}
                </text>
              </g>
            ))}
            {x
              .ticks(10)
              .filter((t) => t >= 0 && t < memory.launches && Number.isInteger(t))
              .map((t) => (
                <text key={t} x={x(t + 0.5)} y={bottom + 16}>
                  {t}
                </text>
              ))}
          </g>
          {memory.buffers.map((b) => (
            // The table below has the same buffers, and leads to the same places by keyboard.
            // biome-ignore lint/a11y/noStaticElementInteractions: see above
            <rect
              key={`${b.name} ${b.offset} ${b.first}`}
              class={`buffer role-${b.role}${chosen === b ? " on" : ""}`}
              x={x(Math.max(-1, b.first))}
              width={Math.max(1.5, x(Math.min(last, b.last) + 1) - x(Math.max(-1, b.first)) - 0.5)}
              y={y(b.offset + b.bytes)}
              height={Math.max(0.75, y(b.offset) - y(b.offset + b.bytes))}
              onMouseEnter={() => setChosen(b)}
              onMouseLeave={() => setChosen(null)}
              onClick={() => {
                const writer = p.program.launches.find((l) => l.writes.includes(b.name));
                if (writer !== undefined) openKernel(writer.kernel);
              }}
            />
          ))}
          <text class="axis-title" x={(margin.left + size.width - margin.right) / 2} y={size.height - 6}>
            launch of a kernel
          </text>
        </svg>
        <figcaption class="muted">
          {chosen === null
            ? "Each rectangle is a buffer: how long it is needed, and where it lies. Before and after it, its place is free for others. Choose one to see the kernel that writes it."
            : `${chosen.name}: ${bytes(chosen.bytes)} at ${count(chosen.offset)}, ${lifeText(chosen, memory.launches)}`}
        </figcaption>
      </figure>
      <ul class="legend row">
        {roles.map((r) => (
          <li key={r}>
            <span class={`swatch role-${r}`} /> {roleNames[r]}
          </li>
        ))}
      </ul>
      <Buffers memory={memory} program={p.program} chosen={chosen} />
    </div>
  );
}

function lifeText(b: BufferView, launches: number): string {
  const from = b.first < 0 ? "from the start" : `from launch ${b.first}`;
  return b.last >= launches ? `${from} to the end` : b.first === b.last ? `during launch ${b.first}` : `${from} to ${b.last}`;
}

function Buffers(p: { readonly memory: MemoryView; readonly program: ProgramView; readonly chosen: BufferView | null }) {
  const { memory } = p;
  const list = [...memory.buffers].sort((a, b) => b.bytes - a.bytes);
  const symbolic = list.some((b) => !/^\d+$/.test(b.bytesText));
  return (
    <details>
      <summary>All buffers, largest first</summary>
      <div class="scroll limited">
        <table>
          <thead>
            <tr>
              <th>Name</th>
              <th>Holds</th>
              <th class="number">Bytes</th>
              {symbolic ? <th>As sizes decide</th> : null}
              <th class="number">At</th>
              <th>In use</th>
              <th>Written by</th>
            </tr>
          </thead>
          <tbody>
            {list.map((b) => {
              const writer = p.program.launches.find((l) => l.writes.includes(b.name));
              return (
                <tr key={`${b.name} ${b.offset} ${b.first}`} class={p.chosen === b ? "on" : ""}>
                  <td class="name">{b.name}</td>
                  <td>{roleNames[b.role]}</td>
                  <td class="number">{count(b.bytes)}</td>
                  {symbolic ? (
                    <td>
                      <code>{b.bytesText}</code>
                    </td>
                  ) : null}
                  <td class="number">{count(b.offset)}</td>
                  <td>{lifeText(b, memory.launches)}</td>
                  <td>
                    {writer === undefined ? (
                      <span class="muted">–</span>
                    ) : (
                      <button type="button" class="link" onClick={() => openKernel(writer.kernel)}>
                        {p.program.kernels[writer.kernel]?.name}
                      </button>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Weights(p: { readonly program: ProgramView }) {
  const list = [...p.program.weights].sort((a, b) => b.bytes - a.bytes);
  if (list.length === 0) return null;
  const most = list[0]?.bytes ?? 1;
  return (
    <div class="card span">
      <h2>Weights, as they were packed</h2>
      <div class="scroll limited">
        <table>
          <thead>
            <tr>
              <th>Name</th>
              <th>Type</th>
              <th class="number">Bytes</th>
              <th class="bar-cell">Share</th>
              <th>Nodes</th>
            </tr>
          </thead>
          <tbody>
            {list.map((w) => (
              <tr key={w.offset}>
                <td class="name">{w.name}</td>
                <td>
                  {w.dtype} {w.dims.join(" × ")}
                </td>
                <td class="number">{count(w.bytes)}</td>
                <td class="bar-cell">
                  <span class="bar-track">
                    <span style={{ width: `${(w.bytes / most) * 100}%` }} />
                  </span>
                </td>
                <td>
                  <Origins names={w.origins} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
