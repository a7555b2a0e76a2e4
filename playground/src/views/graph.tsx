import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { GraphView } from "../../../src/explorer/types.ts";
import { plural, typeText } from "../format.ts";
import { type CanvasControl, GraphCanvas } from "../graph/canvas.tsx";
import { type Layout, layOut } from "../graph/layout.ts";
import { type Family, type Scene, familyNames, sceneOf } from "../graph/scene.ts";
import { client } from "../open.ts";
import { exploration, graphStep, kernelsOf, openKernel, picked } from "../state.ts";
import { Empty, Facts, Spinner } from "../ui/parts.tsx";
import { useAsync } from "../ui/use-async.ts";
import { Origins } from "./origins.tsx";

/** The graph of the model, as it was read or after a step of the compiler. */
export function GraphPanel() {
  const [constants, setConstants] = useState(false);
  const steps = exploration.value?.steps.filter((s) => s.graph) ?? [];
  const state = useAsync(
    async (signal) => {
      const graph = await client().graph(graphStep.value);
      const scene = sceneOf(graph, constants, measureText);
      return { graph, scene, layout: await layOut(scene.input, signal) };
    },
    [exploration.value, graphStep.value, constants],
  );
  if (steps.length === 0) return <Empty title="There is no graph: this text is of a later level, or could not be read" />;
  const tools = (
    <>
      <label>
        Graph{" "}
        <select value={graphStep.value} onChange={(e) => (graphStep.value = Number(e.currentTarget.value))}>
          {steps.map((s, i) => (
            <option key={s.step} value={s.step}>
              {i === 0 ? "as it was read" : `after ${s.name}${s.changed ? "" : " (no change)"}`}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input type="checkbox" checked={constants} onChange={(e) => setConstants(e.currentTarget.checked)} /> Weights
      </label>
    </>
  );
  if (state.kind === "done") return <Drawing key={graphStep.value} {...state.value} tools={tools} />;
  return (
    <div class="graph">
      <div class="toolbar">{tools}</div>
      {state.kind === "waiting" ? <Spinner label="Laying out the graph…" /> : <Empty title={String(state.error)} />}
    </div>
  );
}

let measuring: CanvasRenderingContext2D | null = null;
function measureText(text: string, large: boolean): number {
  measuring ??= document.createElement("canvas").getContext("2d");
  if (measuring === null) return text.length * 7;
  const { fontFamily } = getComputedStyle(document.body);
  measuring.font = large ? `600 13px ${fontFamily}` : `11.5px ${fontFamily}`;
  return measuring.measureText(text).width;
}

function Drawing(p: { readonly graph: GraphView; readonly scene: Scene; readonly layout: Layout; readonly tools: ComponentChildren }) {
  const { scene, layout } = p;
  const control = useRef<CanvasControl | null>(null);
  const highlighted = useMemo(() => boxesOf(scene, picked.value), [scene, picked.value]);
  const [selected, setSelected] = useState<number | null>(() => [...highlighted][0] ?? null);
  const [word, setWord] = useState("");
  const matches = useMemo(() => findBoxes(scene, word), [scene, word]);
  const select = (box: number | null) => {
    setSelected(box);
    picked.value = new Set(box === null ? [] : (scene.boxes[box]?.node.origins ?? []));
  };
  const reveal = (box: number) => {
    select(box);
    control.current?.reveal(box);
  };
  const next = () => {
    const box = matches.find((m) => m > (selected ?? -1)) ?? matches[0];
    if (box !== undefined) reveal(box);
  };
  const open = (box: number) => {
    const [first] = kernelsOf(scene.boxes[box]?.node.origins ?? []);
    if (first !== undefined) openKernel(first.kernel);
  };
  return (
    <div class="graph">
      <div class="toolbar">
        {p.tools}
        <form
          class="search"
          onSubmit={(e) => {
            e.preventDefault();
            next();
          }}
        >
          <input
            type="search"
            placeholder="Find a node"
            aria-label="Find a node by op or name; Enter goes to the next one"
            value={word}
            onInput={(e) => setWord(e.currentTarget.value)}
          />
          {word === "" ? null : (
            <span class="muted" role="status">
              {matches.length}
            </span>
          )}
        </form>
        <span class="spring" />
        <span class="muted">{plural(scene.boxes.length, "node")}</span>
        <div class="button-group">
          <button type="button" aria-label="Smaller" title="Smaller (−)" onClick={() => control.current?.zoom(0.8)}>
            −
          </button>
          <button type="button" aria-label="Larger" title="Larger (+)" onClick={() => control.current?.zoom(1.25)}>
            +
          </button>
          <button type="button" title="Show all (0)" onClick={() => control.current?.fit()}>
            Fit
          </button>
        </div>
      </div>
      <div class="graph-body">
        <GraphCanvas
          scene={scene}
          layout={layout}
          selected={selected}
          picked={word === "" ? highlighted : new Set(matches)}
          onSelect={select}
          onOpen={open}
          control={(c) => {
            control.current = c;
            const [first] = highlighted;
            if (first !== undefined) requestAnimationFrame(() => c.reveal(first));
          }}
        />
        <aside aria-live="polite">
          {selected === null ? <Legend scene={scene} /> : <Details graph={p.graph} scene={scene} box={selected} onSelect={reveal} />}
        </aside>
      </div>
    </div>
  );
}

function boxesOf(scene: Scene, origins: ReadonlySet<string>): ReadonlySet<number> {
  const found = new Set<number>();
  if (origins.size === 0) return found;
  scene.boxes.forEach((b, i) => {
    if (b.node.kind === "op" && b.node.origins.some((o) => origins.has(o))) found.add(i);
  });
  return found;
}

function findBoxes(scene: Scene, word: string): number[] {
  const w = word.trim().toLowerCase();
  if (w === "") return [];
  return scene.boxes.flatMap((b, i) =>
    [b.node.op, ...b.node.origins, ...b.node.values.map((v) => v.name)].some((t) => t.toLowerCase().includes(w)) ? [i] : [],
  );
}

function Legend(p: { readonly scene: Scene }) {
  const used = [...new Set(p.scene.boxes.map((b) => b.family))];
  const order = Object.keys(familyNames) as Family[];
  return (
    <>
      <h2>The graph</h2>
      <p class="muted">Choose a node to see what it is and which kernels serve it. Drag or scroll to move, hold Ctrl and scroll to zoom.</p>
      <ul class="legend">
        {order
          .filter((f) => used.includes(f))
          .map((f) => (
            <li key={f}>
              <span class="swatch" style={{ background: `var(--fill-${f})`, borderColor: `var(--stroke-${f})` }} /> {familyNames[f]}
            </li>
          ))}
      </ul>
    </>
  );
}

function Details(p: { readonly graph: GraphView; readonly scene: Scene; readonly box: number; readonly onSelect: (box: number) => void }) {
  const { graph, scene } = p;
  const box = scene.boxes[p.box];
  if (box === undefined) return null;
  const { node } = box;
  const attrs = Object.entries(node.attrs);
  const operands = graph.edges.filter((e) => e.to === node.id).sort((a, b) => a.operand - b.operand);
  const kernels = kernelsOf(node.origins);
  return (
    <>
      <h2 class="name">{node.op}</h2>
      {node.kind === "op" ? null : <p class="muted">{node.kind}</p>}
      <h3>Gives</h3>
      <ul class="names">
        {node.values.map((v) => (
          <li key={v.name}>
            {v.name} <span class="muted">{typeText(v.dtype, v.dims)}</span>
          </li>
        ))}
      </ul>
      {operands.length === 0 ? null : (
        <>
          <h3>Takes</h3>
          <ul class="names">
            {operands.map((e) => {
              const from = graph.nodes[e.from];
              const v = from?.values[e.value];
              const at = scene.boxes.findIndex((b) => b.node.id === e.from);
              const text = v?.name ?? "";
              return (
                <li key={e.operand}>
                  {at < 0 ? (
                    text
                  ) : (
                    <button type="button" class="link" onClick={() => p.onSelect(at)}>
                      {text}
                    </button>
                  )}{" "}
                  <span class="muted">
                    {v === undefined ? "" : typeText(v.dtype, v.dims)}
                    {from?.kind === "constant" ? ", constant" : ""}
                  </span>
                </li>
              );
            })}
          </ul>
        </>
      )}
      {attrs.length === 0 ? null : (
        <>
          <h3>Attributes</h3>
          <Facts rows={attrs.map(([k, v]) => [k, <code key={k}>{v}</code>] as const)} />
        </>
      )}
      {node.origins.length === 0 ? null : (
        <>
          <h3>In the model's file</h3>
          <Origins names={node.origins} />
        </>
      )}
      {node.kind !== "op" ? null : (
        <>
          <h3>Kernels</h3>
          {kernels.length === 0 ? (
            <p class="muted">None of its own: it was folded away, or is a view of other data.</p>
          ) : (
            <ul class="names">
              {kernels.map((k) => (
                <li key={k.kernel}>
                  <button type="button" class="link" onClick={() => openKernel(k.kernel)}>
                    {k.name}
                  </button>
                </li>
              ))}
            </ul>
          )}
        </>
      )}
    </>
  );
}
