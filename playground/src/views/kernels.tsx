import { useState } from "preact/hooks";
import type { KernelView, LaunchView } from "../../../src/explorer/types.ts";
import { arithmetic, bytes, count, duration, plural } from "../format.ts";
import { client } from "../open.ts";
import { exploration, isServed, kernel, openNodes, picked, profile, program } from "../state.ts";
import { Code } from "../ui/code.tsx";
import { Empty, Facts, SelectList, Spinner, Tabs } from "../ui/parts.tsx";
import { useAsync } from "../ui/use-async.ts";
import { Origins } from "./origins.tsx";

/** Every kernel: which nodes it serves, its schedule, its loops, its code. */
export function KernelsPanel() {
  const [filter, setFilter] = useState("");
  const all = program.value?.kernels;
  if (all === undefined) return <Empty title="There is no code: the model could not be compiled" />;
  const word = filter.trim().toLowerCase();
  const shown = all.filter((k) => word === "" || [k.name, ...k.origins].some((t) => t.toLowerCase().includes(word)));
  const chosen = all[kernel.value];
  return (
    <div class="split">
      <div class="list-side">
        <input
          type="search"
          placeholder="Kernel or node"
          aria-label="Filter kernels by name or node"
          value={filter}
          onInput={(e) => setFilter(e.currentTarget.value)}
        />
        <SelectList
          label="Kernels"
          items={shown}
          selected={Math.max(
            0,
            shown.findIndex((k) => k.kernel === kernel.value),
          )}
          onSelect={(i) => {
            const k = shown[i];
            if (k !== undefined) kernel.value = k.kernel;
          }}
          row={(k) => (
            <>
              <span class={k.origins.some((o) => picked.value.has(o)) ? "tail picked" : "tail"}>
                <bdi>{k.name}</bdi>
              </span>
              {k.launches.length > 1 ? <span class="row-note">× {k.launches.length}</span> : null}
            </>
          )}
        />
      </div>
      {chosen === undefined ? <Empty title="This model needs no kernel" /> : <Kernel kernel={chosen} />}
    </div>
  );
}

const texts = [
  { id: "schedule", label: "Schedule" },
  { id: "loop", label: "Loops" },
  { id: "wasm", label: "WebAssembly" },
  { id: "launches", label: "Launches" },
] as const;
type TextId = (typeof texts)[number]["id"];

function Kernel(p: { readonly kernel: KernelView }) {
  const k = p.kernel;
  const [view, setView] = useState<TextId>("schedule");
  const launches = launchesOf(k);
  const flops = total(launches.map((l) => l.flops));
  const moved = total(launches.map((l) => l.bytes));
  const ms = profile.value?.launches.filter((l) => k.launches.includes(l.launch)).reduce((n, l) => n + l.ms, 0);
  return (
    <div class="detail">
      <div class="detail-head">
        <h2 class="name">{k.name}</h2>
        <Facts
          rows={[
            ["Stands for", <Origins key="origins" names={k.origins} />],
            ["Launched", k.launches.length === 1 ? "once a run" : `${count(k.launches.length)} times a run`],
            k.codeBytes === null ? null : ["Code", `${bytes(k.codeBytes)}, ${plural(k.instructions ?? 0, "instruction")}`],
            flops === null ? null : ["Arithmetic", arithmetic(flops)],
            moved === null ? null : ["Data touched", bytes(moved)],
            ms === undefined ? null : ["Time", `${duration(ms)} a run`],
          ]}
        />
        <Tabs small label="Texts of this kernel" prefix="kernel" items={texts} selected={view} onSelect={setView} />
      </div>
      <div id="panel-kernel" role="tabpanel" aria-labelledby={`tab-kernel-${view}`} class="fill">
        {view === "launches" ? <Launches list={launches} /> : <KernelText kernel={k} view={view} />}
      </div>
    </div>
  );
}

function launchesOf(k: KernelView): LaunchView[] {
  return k.launches.flatMap((i) => program.value?.launches[i] ?? []);
}
/** Null where a part is not known. */
function total(list: readonly (number | null)[]): number | null {
  return list.length === 0 || list.includes(null) ? null : list.reduce<number>((a, b) => a + (b ?? 0), 0);
}

function KernelText(p: { readonly kernel: KernelView; readonly view: "schedule" | "loop" | "wasm" }) {
  const { kernel: k, view } = p;
  const state = useAsync(
    () => (view === "schedule" ? Promise.resolve(scheduleOf(k)) : client().text({ kind: view, kernel: k.kernel })),
    [exploration.value, k.kernel, view],
  );
  switch (state.kind) {
    case "waiting":
      return <Spinner label="Reading the text…" />;
    case "failed":
      return <Empty title={String(state.error)} />;
    case "done":
      if (state.value === "") return <Empty title={view === "schedule" ? "This kernel has no schedule: it is a fixed loop" : "There is no text"} />;
      return (
        <Code
          label={`${view} of ${k.name}`}
          language={view === "wasm" ? "wat" : "ir"}
          text={state.value}
          isLink={isServed}
          onLink={(name) => openNodes([name])}
        />
      );
    default:
      throw state satisfies never;
  }
}

/** JSON with what holds no lists or objects itself on one line each. */
function compactJson(json: string): string {
  return JSON.stringify(JSON.parse(json), null, 2).replace(/[{[][^{}[\]]*[}\]]/g, (inner) => inner.replace(/\s+/g, " "));
}

/** The schedule for readers, then as data. */
function scheduleOf(k: KernelView): string {
  if (k.schedule === "") return k.scheduleText;
  return `// From the outermost loop to the innermost.\n${k.scheduleText}\n\n// As data, as a database of schedules has it.\n${compactJson(k.schedule)}\n`;
}

function Launches(p: { readonly list: readonly LaunchView[] }) {
  const times = new Map(profile.value?.launches.map((l) => [l.launch, l.ms]));
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Launch</th>
            <th>Stands for</th>
            <th>Reads</th>
            <th>Writes</th>
            <th class="number">Arithmetic</th>
            <th class="number">Data</th>
            {times.size === 0 ? null : <th class="number">Time</th>}
          </tr>
        </thead>
        <tbody>
          {p.list.map((l) => (
            <tr key={l.launch}>
              <td class="number">{l.launch}</td>
              <td>
                <Origins names={l.origins} />
              </td>
              <td class="name">{l.reads.join(", ")}</td>
              <td class="name">{l.writes.join(", ")}</td>
              <td class="number">{l.flops === null ? "–" : arithmetic(l.flops)}</td>
              <td class="number">{l.bytes === null ? "–" : bytes(l.bytes)}</td>
              {times.size === 0 ? null : <td class="number">{duration(times.get(l.launch) ?? 0)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
