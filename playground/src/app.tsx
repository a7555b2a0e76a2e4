import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { cancel, openExample, openFiles } from "./open.ts";
import { exploration, phase, tab, tabIds, type TabId } from "./state.ts";
import { count, plural } from "./format.ts";
import { Tabs } from "./ui/parts.tsx";
import { ErrorReport } from "./views/errors.tsx";
import { GraphPanel } from "./views/graph.tsx";
import { KernelsPanel } from "./views/kernels.tsx";
import { MemoryPanel } from "./views/memory.tsx";
import { OverviewPanel } from "./views/overview.tsx";
import { RunPanel } from "./views/run.tsx";
import { StepsPanel } from "./views/steps.tsx";
import { TimingPanel } from "./views/timing.tsx";

const labels: Readonly<Record<TabId, string>> = {
  overview: "Overview",
  graph: "Graph",
  steps: "Compiler steps",
  kernels: "Kernels",
  timing: "Timing",
  memory: "Memory",
  run: "Run",
};
const panels: Readonly<Record<TabId, () => ComponentChildren>> = {
  overview: OverviewPanel,
  graph: GraphPanel,
  steps: StepsPanel,
  kernels: KernelsPanel,
  timing: TimingPanel,
  memory: MemoryPanel,
  run: RunPanel,
};

export function App() {
  const over = useDrop();
  useHash();
  return (
    <>
      <Header />
      <main>
        <Body />
      </main>
      {over ? (
        <div class="drop-veil" aria-hidden="true">
          <p>Drop the model here</p>
        </div>
      ) : null}
    </>
  );
}

function Header() {
  const p = phase.value;
  return (
    <header>
      <h1>
        tilewright <span>playground</span>
      </h1>
      <p class="file-name">{p.kind === "empty" ? "" : p.name}</p>
      <div class="actions">
        {p.kind === "empty" ? null : <OpenButton class="button">Open a model…</OpenButton>}
        {p.kind === "empty" ? null : (
          <button type="button" class="button quiet" onClick={() => void openExample()}>
            Digits example
          </button>
        )}
      </div>
    </header>
  );
}

/** A button for choosing files: the model, and files of external data that it names. */
function OpenButton(p: { readonly class: string; readonly children: ComponentChildren }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class={p.class} onClick={() => input.current?.click()}>
        {p.children}
      </button>
      <input
        ref={input}
        class="hidden"
        type="file"
        multiple
        tabIndex={-1}
        aria-label="Model file"
        onChange={(e) => {
          void openFiles([...(e.currentTarget.files ?? [])]);
          e.currentTarget.value = "";
        }}
      />
    </>
  );
}

function Body() {
  const p = phase.value;
  switch (p.kind) {
    case "empty":
      return <Welcome />;
    case "working": {
      const { progress } = p;
      return (
        <section class="card center" aria-live="polite">
          <h2>Compiling {p.name}</h2>
          <progress aria-label="Progress" max={progress?.of ?? 1} value={progress?.done ?? 0} />
          <p class="muted">{progress === null ? "Reading the model…" : `${progress.stage}: ${progress.name}`}</p>
          <button type="button" class="button" onClick={cancel}>
            Cancel
          </button>
        </section>
      );
    }
    case "failed":
      return (
        <section class="card center wide">
          <ErrorReport error={p.error} problems={[]} />
          <div class="actions">
            <OpenButton class="button primary">
              {p.error.code.startsWith("external-data") ? "Choose the model together with its files…" : "Choose another file…"}
            </OpenButton>
          </div>
        </section>
      );
    case "ready":
      return <Workbench />;
    default:
      throw p satisfies never;
  }
}

function Welcome() {
  return (
    <section class="card center welcome">
      <h2>See what a compiler makes of a model</h2>
      <p>
        Drop an ONNX file here, or IR text (<code>.tw</code>). You will see its graph, every step of the compiler, the code of each kernel, where the
        time goes, and how memory is used; and you can run it.
      </p>
      <div class="actions">
        <OpenButton class="button primary">Choose a file…</OpenButton>
        <button type="button" class="button" onClick={() => void openExample()}>
          Try the digits example
        </button>
      </div>
      <p class="muted">
        Nothing is uploaded: the compiler runs in this page, in a worker. A model whose weights lie in files of their own: choose or drop them
        together.
      </p>
    </section>
  );
}

function Workbench() {
  const e = exploration.value;
  if (e === null) return null;
  const id = tab.value;
  const Panel = panels[id];
  const notes: Partial<Record<TabId, string>> = {
    steps: count(e.steps.length),
    ...(e.program === null ? {} : { kernels: count(e.program.kernels.length) }),
  };
  const items = tabIds.map((t) => ({ id: t, label: labels[t], note: notes[t] }));
  return (
    <div class="workbench">
      <Tabs items={items} selected={id} onSelect={(t) => (tab.value = t)} label="Views of the model" prefix="main" />
      <section id="panel-main" role="tabpanel" aria-labelledby={`tab-main-${id}`} class={`panel panel-${id}`}>
        <Panel />
      </section>
    </div>
  );
}

/** Files dropped anywhere on the page are opened. */
function useDrop(): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const hasFiles = (e: DragEvent) => e.dataTransfer?.types.includes("Files") ?? false;
    const on: Partial<Record<keyof DocumentEventMap, (e: DragEvent) => void>> = {
      dragenter: (e) => {
        if (hasFiles(e)) setOver(++depth > 0);
      },
      dragleave: (e) => {
        if (hasFiles(e)) setOver(--depth > 0);
      },
      dragover: (e) => {
        if (hasFiles(e)) e.preventDefault();
      },
      drop: (e) => {
        if (!hasFiles(e)) return;
        depth = 0;
        setOver(false);
        // A panel that takes files itself has dealt with it.
        if (e.defaultPrevented) return;
        e.preventDefault();
        void openFiles([...(e.dataTransfer?.files ?? [])]);
      },
    };
    for (const [name, f] of Object.entries(on)) document.addEventListener(name, f as EventListener);
    return () => {
      for (const [name, f] of Object.entries(on)) document.removeEventListener(name, f as EventListener);
    };
  }, []);
  return over;
}

/** The chosen tab is in the address, so that the back button leads to the one before. */
function useHash(): void {
  useEffect(() => {
    const read = () => {
      const id = tabIds.find((t) => `#${t}` === location.hash);
      if (id !== undefined) tab.value = id;
    };
    read();
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  useEffect(() => {
    if (exploration.value !== null && location.hash !== `#${tab.value}`) history.pushState(null, "", `#${tab.value}`);
  }, [tab.value, exploration.value]);
  useEffect(() => {
    const p = phase.value;
    document.title = p.kind === "empty" ? "tilewright playground" : `${p.name}, ${plural(exploration.value?.model.nodes ?? 0, "node")} – tilewright`;
  }, [phase.value]);
}
