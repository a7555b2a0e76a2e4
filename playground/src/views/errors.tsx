import type { ErrorInfo, ProblemView } from "../../../src/explorer/types.ts";
import { plural } from "../format.ts";

const titles: Readonly<Record<string, string>> = {
  UserError: "This cannot be used as it is",
  UnsupportedError: "This model holds something that tilewright cannot compile yet",
  VerifyError: "The IR breaks its own rules",
  InternalError: "The compiler failed; this is a bug in tilewright",
};

/** An error in words: what it is, all that it lists, and how to go on. */
export function ErrorReport(p: { readonly error: ErrorInfo; readonly problems: readonly ProblemView[] }) {
  const { error, problems } = p;
  return (
    <div class="error-report" role="alert">
      <h2>{titles[error.name] ?? "Something went wrong"}</h2>
      {problems.length > 0 ? <Problems list={problems} /> : <p class="error-text">{error.message}</p>}
      {error.code === "" ? null : (
        <p class="muted">
          {error.name}, code <code>{error.code}</code>
        </p>
      )}
    </div>
  );
}

/** Nodes that cannot be compiled, those of one op and reason together. */
function Problems(p: { readonly list: readonly ProblemView[] }) {
  const groups = new Map<string, ProblemView[]>();
  for (const problem of p.list) {
    const key = JSON.stringify([problem.op, problem.reason]);
    const list = groups.get(key) ?? [];
    groups.set(key, list);
    list.push(problem);
  }
  return (
    <>
      <p>
        {plural(p.list.length, "node")} of it cannot be compiled, for {plural(groups.size, "reason")}:
      </p>
      <table>
        <thead>
          <tr>
            <th>Op</th>
            <th>Why</th>
            <th>Nodes</th>
          </tr>
        </thead>
        <tbody>
          {[...groups].map(([key, list]) => (
            <tr key={key}>
              <td>
                <code>{list[0]?.op}</code>
                {list[0]?.version ? <span class="muted"> opset {list[0].version}</span> : null}
              </td>
              <td>{list[0]?.reason}</td>
              <td>
                <details open={list.length <= 3}>
                  <summary>{plural(list.length, "node")}</summary>
                  <ul class="names">
                    {list.map((x) => (
                      <li key={x.node}>{x.node}</li>
                    ))}
                  </ul>
                </details>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
