import type { OpTable } from "../context.ts";

export const resizeOps: OpTable = {};
