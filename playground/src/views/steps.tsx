import { useState } from "preact/hooks";
import type { Stage, StepView } from "../../../src/explorer/types.ts";
import { duration, plural } from "../format.ts";
import { client } from "../open.ts";
import { exploration, graphStep, goTo, isServed, openNodes, step } from "../state.ts";
import { compare } from "../text/compare.ts";
import { Choice, Empty, SelectList, Spinner } from "../ui/parts.tsx";
import { Code } from "../ui/code.tsx";
import { useAsync } from "../ui/use-async.ts";

const stageNames: Readonly<Record<Stage, string>> = {
  graph: "Graph: whole operations",
  tensor: "Tensor: stages of loops",
  schedule: "Schedules",
  loop: "Loops",
  code: "Code",
};

/** Every step of the compiler, with the IR after it and what it changed. */
export function StepsPanel() {
  const steps = exploration.value?.steps ?? [];
  const chosen = steps[step.value];
  return (
    <div class="split">
      <SelectList
        label="Steps of the compiler"
        items={steps}
        selected={step.value}
        onSelect={(i) => (step.value = i)}
        heading={(s, i) => (steps[i - 1]?.stage === s.stage ? null : stageNames[s.stage])}
        row={(s) => (
          <>
            <span class={s.changed ? "" : "muted"}>{s.name}</span>
            <span class="row-note">{s.changed ? duration(s.ms) : "no change"}</span>
          </>
        )}
      />
      {chosen === undefined ? <Empty title="There are no steps" /> : <Step step={chosen} />}
    </div>
  );
}

function Step(p: { readonly step: StepView }) {
  const s = p.step;
  const [view, setView] = useState<"changes" | "whole">("changes");
  const rules = Object.entries(s.rules);
  const comparable = s.before !== null && s.changed;
  return (
    <div class="detail">
      <div class="detail-head">
        <h2>{s.name}</h2>
        {s.doc === "" ? null : <p class="doc">{s.doc}</p>}
        <div class="toolbar">
          {comparable ? (
            <Choice
              label="What to show"
              selected={view}
              onSelect={setView}
              items={[
                { id: "changes", label: "What changed" },
                { id: "whole", label: "Whole text" },
              ]}
            />
          ) : null}
          {s.graph ? (
            <button
              type="button"
              class="button quiet"
              onClick={() => {
                graphStep.value = s.step;
                goTo("graph");
              }}
            >
              Draw the graph
            </button>
          ) : null}
          <span class="muted">
            took {duration(s.ms)}
            {rules.length === 0
              ? ""
              : `, ${plural(
                  rules.reduce((n, [, k]) => n + k, 0),
                  "rewrite",
                )}`}
          </span>
        </div>
        {rules.length === 0 ? null : (
          <details>
            <summary>Rules that fired</summary>
            <ul class="names">
              {rules
                .sort(([, a], [, b]) => b - a)
                .map(([name, n]) => (
                  <li key={name}>
                    {name} <span class="muted">× {n}</span>
                  </li>
                ))}
            </ul>
          </details>
        )}
      </div>
      <StepText step={s} changes={comparable && view === "changes"} />
    </div>
  );
}

function StepText(p: { readonly step: StepView; readonly changes: boolean }) {
  const { step: at, before, text } = p.step;
  const state = useAsync(
    async (signal) => {
      if (!text) return null;
      const after = await client().text({ kind: "step", step: at });
      if (!p.changes || before === null) return { text: after };
      const found = await compare(await client().text({ kind: "step", step: before }), after, signal);
      return found ?? { text: after };
    },
    [exploration.value, at, p.changes],
  );
  switch (state.kind) {
    case "waiting":
      return <Spinner label="Reading the text…" />;
    case "failed":
      return <Empty title={String(state.error)} />;
    case "done": {
      if (state.value === null) return <Empty title="This step leaves no text of its own" />;
      const { text: shown, ...rest } = state.value;
      return (
        <>
          {"added" in rest ? (
            <p class="muted diff-note">
              <span class="plus">+{rest.added}</span> <span class="minus">−{rest.removed}</span> lines
            </p>
          ) : null}
          <Code
            label={`IR after ${p.step.name}`}
            language="ir"
            text={shown}
            {...("marks" in rest ? { marks: rest.marks } : {})}
            isLink={isServed}
            onLink={(name) => openNodes([name])}
          />
        </>
      );
    }
    default:
      throw state satisfies never;
  }
}
