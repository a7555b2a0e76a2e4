/** The script of the explorer's worker. */
import type { Port } from "./protocol.ts";
import { serveExplorer } from "./serve.ts";

serveExplorer(globalThis as unknown as Port);
