import type { OpTable } from "../context.ts";

export const visionOps: OpTable = {};
