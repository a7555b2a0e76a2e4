import type { Variant } from "./artifact.ts";
import { Bytes } from "./encoder.ts";

/** Two 32-bit FNV-1a hashes with different starts, as 16 hex digits: ties files together, protects against no one. */
function contentId(parts: readonly Uint8Array[]): string {
  let [a, b] = [0x811c9dc5, 0x1b873593];
  for (const part of parts) {
    for (const x of part) {
      a = Math.imul(a ^ x, 0x01000193);
      b = Math.imul(b ^ x, 0x01000193) ^ (b >>> 15);
    }
  }
  return [a, b].map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}

function customSection(name: string, content: string): Uint8Array {
  const body = new Bytes().name(name).bytes(new TextEncoder().encode(content));
  return new Bytes().byte(0).u32(body.length).bytes(body).take();
}

/**
 * Gives the modules of one build a common id, kept in a custom section of each, so that the loader notices when files of
 * two builds are mixed. A module with relaxed SIMD says so in another section, and one with shared memory in a third.
 */
export function sealModules(modules: readonly Uint8Array[], variants: readonly Variant[]): { id: string; modules: Uint8Array[] } {
  const id = contentId(modules);
  const sealed = modules.map((m, i) => {
    const out = new Bytes().bytes(m).bytes(customSection("tilewright", id));
    if (variants[i]?.relaxed) out.bytes(customSection("tilewright.relaxed", ""));
    if (variants[i]?.shared) out.bytes(customSection("tilewright.mt", ""));
    return out.take();
  });
  return { id, modules: sealed };
}
