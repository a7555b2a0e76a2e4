import type { PortView } from "../../../src/explorer/types.ts";
import { arithmetic, bytes, count, duration } from "../format.ts";
import { exploration, goTo } from "../state.ts";
import { Facts } from "../ui/parts.tsx";
import { ErrorReport } from "./errors.tsx";

/** What the model is, and what was made of it. */
export function OverviewPanel() {
  const e = exploration.value;
  if (e === null) return null;
  const { model, program } = e;
  const opsets = Object.entries(model.opsets).map(([d, v]) => `${d} ${v}`);
  return (
    <div class="overview">
      {e.error === null ? null : (
        <div class="card span">
          <ErrorReport error={e.error} problems={model.problems} />
        </div>
      )}
      {model.missingFiles.length === 0 ? null : (
        <p class="card span">
          The model keeps weights in files that were not given: {model.missingFiles.join(", ")}. Drop them together with the model to run it.
        </p>
      )}
      <div class={program === null ? "card span" : "card"}>
        <h2>The model</h2>
        <Facts
          rows={[
            ["Format", model.format],
            opsets.length === 0 ? null : ["Opsets", opsets.join(", ")],
            model.producer === "" ? null : ["Made by", model.producer],
            ["File", bytes(model.bytes)],
            ["Parameters", count(model.parameters)],
            ["Nodes", count(model.nodes)],
            ["Arithmetic", model.flops === null ? (model.symbols.length > 0 ? "depends on sizes" : "not known") : `${arithmetic(model.flops)} a run`],
          ]}
        />
      </div>
      {program === null ? null : (
        <div class="card">
          <h2>What was made of it</h2>
          <Facts
            rows={[
              ["Code", `${bytes(program.code.bytes)} of WebAssembly`],
              ["Kernels", `${count(program.kernels.length)}, launched ${count(program.launches.length)} times a run`],
              ["Weights", bytes(program.memory.weightBytes)],
              ["Working memory", `${bytes(program.memory.arenaBytes)}${program.memory.grows ? ", and more as it runs" : ""}`],
              ["SIMD", program.code.relaxedSimd ? "128 bits, relaxed" : "128 bits"],
              ["Compiled in", `${duration(e.compileMs)}, in this page`],
            ]}
          />
          <p class="links">
            <button type="button" class="button" onClick={() => goTo("run")}>
              Run it
            </button>
            <button type="button" class="button quiet" onClick={() => goTo("graph")}>
              See its graph
            </button>
          </p>
        </div>
      )}
      <Ports title="Inputs" ports={model.inputs} />
      <Ports title="Outputs" ports={model.outputs} />
      {model.symbols.length === 0 ? null : <Symbols />}
      <OpCounts ops={model.ops} />
    </div>
  );
}

function Ports(p: { readonly title: string; readonly ports: readonly PortView[] }) {
  return (
    <div class="card">
      <h2>{p.title}</h2>
      <div class="scroll-x">
        <table>
          <thead>
            <tr>
              <th>Name</th>
              <th>Type</th>
              <th>Shape</th>
            </tr>
          </thead>
          <tbody>
            {p.ports.map((x) => (
              <tr key={x.name}>
                <td class="name">{x.name}</td>
                <td>{x.dtype}</td>
                <td class="number">{x.dims === null ? "not known" : x.dims.length === 0 ? "scalar" : x.dims.join(" × ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Symbols() {
  return (
    <div class="card">
      <h2>Sizes that are open</h2>
      <table>
        <thead>
          <tr>
            <th>Name</th>
            <th>From</th>
            <th>To</th>
            <th>Known from</th>
          </tr>
        </thead>
        <tbody>
          {exploration.value?.model.symbols.map((s) => (
            <tr key={s.name}>
              <td class="name">{s.name}</td>
              <td class="number">{count(s.min)}</td>
              <td class="number">{s.max === null ? "no limit" : count(s.max)}</td>
              <td>{s.source === "input" ? "the inputs" : "a result in the model"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function OpCounts(p: { readonly ops: Readonly<Record<string, number>> }) {
  const list = Object.entries(p.ops);
  const most = Math.max(1, ...list.map(([, n]) => n));
  return (
    <div class="card span">
      <h2>Ops</h2>
      <ul class="bars">
        {list.map(([op, n]) => (
          <li key={op}>
            <span class="bar-name">{op}</span>
            <span class="bar-track">
              <span style={{ width: `${(n / most) * 100}%` }} />
            </span>
            <span class="bar-value">{count(n)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
