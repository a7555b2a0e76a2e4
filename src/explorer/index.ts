/** The explorer: what the compiler makes of a model, step by step, as data for those who show it. */
export { ExplorerClient } from "./client.ts";
export type { CallOptions, ExplorerWorker, OpenOptions } from "./client.ts";
export { Explored, explore } from "./explore.ts";
export { serveExplorer } from "./serve.ts";
export type * from "./types.ts";
