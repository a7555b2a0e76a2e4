import { inWorker } from "../in-worker.ts";

/** A graph to lay out: sizes of the nodes, and edges as pairs of node numbers. Typed arrays go to a worker cheaply. */
export interface LayoutInput {
  readonly width: Float32Array;
  readonly height: Float32Array;
  readonly edges: Int32Array;
}

/**
 * Where everything lies: middles of nodes, and the points that each edge leads through, as x, y, x, y, … Edges that leave a node
 * for far layers share a trunk, of which each edge is a branch: its points then begin on the trunk.
 */
export interface Layout {
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly points: readonly Float32Array[];
  readonly trunks: readonly Trunk[];
  readonly width: number;
  readonly height: number;
  readonly method: "dagre" | "layered";
}

export interface Trunk {
  readonly from: number;
  readonly points: Float32Array;
}

export interface LayoutJob {
  readonly input: LayoutInput;
  readonly method: Layout["method"];
}

/** Graphs of more nodes than this get our own layout at once: it keeps long graphs narrow, and the library would take long for them. */
const mostForLibrary = 150;
/** Milliseconds that the library has for a graph. */
const patience = 4000;

/** Lays a graph out in a worker, by the library where it is done in time. The signal ends the work. */
export async function layOut(input: LayoutInput, signal: AbortSignal): Promise<Layout> {
  if (input.width.length <= mostForLibrary) {
    const found = await start({ input, method: "dagre" }, signal, patience);
    if (found !== null) return found;
  }
  const found = await start({ input, method: "layered" }, signal);
  if (found === null) throw new Error("the graph could not be laid out");
  return found;
}

function start(job: LayoutJob, signal: AbortSignal, limit?: number): Promise<Layout | null> {
  return inWorker<Layout>(new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" }), job, signal, limit);
}
