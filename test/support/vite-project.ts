import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type InlineConfig, type LogLevel, type Logger, type Plugin, createLogger } from "vite";
import type { TilewrightOptions } from "../../src/node/vite/index.ts";
import { buildForTests } from "./cli.ts";
import { Ear } from "./page.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** The plugin's module, built. */
export const pluginFile = join(buildForTests(), "node/vite/index.js");
type PluginModule = typeof import("../../src/node/vite/index.ts");
/** The plugin as users get it: built, for its thread runs a script of its own. */
export const { tilewright } = (await import(pluginFile)) as PluginModule;

/** The text of a model that multiplies by a number, `y = k · x`, large enough for threads to share. */
export const scaleText = (k: number): string => `graph @scale {
  input %x: f32[512, 1024]
  %k: f32[] = constant() {dtype = f32, dims = [], data = values(${k.toFixed(1)})}
  %b: f32[512, 1024] = broadcast(%k) {dims = [512, 1024], map = []}
  %y: f32[512, 1024] = mul(%x, %b) from "scale"
  output %y as "y"
}
`;

/** A project that uses Vite, in a folder of its own. */
export class ViteProject {
  readonly path = mkdtempSync(join(tmpdir(), "tilewright-vite-"));
  readonly ear = new Ear();
  /** What the plugin told the terminal. */
  readonly told: string[] = [];

  constructor(files: Readonly<Record<string, string | Uint8Array>>) {
    this.write("package.json", JSON.stringify({ private: true, type: "module" }));
    mkdirSync(join(this.path, "node_modules"));
    for (const name of ["vite", "vitest", "typescript"])
      symlinkSync(join(root, "node_modules", name), join(this.path, "node_modules", name), "junction");
    for (const [name, content] of Object.entries(files)) this.write(name, content);
  }

  write(name: string, content: string | Uint8Array): void {
    const file = join(this.path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  copy(from: string, name: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    cpSync(from, join(this.path, name));
  }

  list(folder: string): string[] {
    return existsSync(join(this.path, folder)) ? readdirSync(join(this.path, folder)).sort() : [];
  }

  /** A configuration with the plugin, whose servers listen to what pages say. */
  config(options: TilewrightOptions = {}, more: InlineConfig = {}): InlineConfig {
    const listen: Plugin = {
      name: "ear",
      configureServer: (server) => void server.middlewares.use(this.ear.middleware),
      configurePreviewServer: (server) => void server.middlewares.use(this.ear.middleware),
    };
    return {
      root: this.path,
      configFile: false,
      logLevel: "warn",
      customLogger: this.logger(),
      server: { port: 0, host: "127.0.0.1" },
      preview: { port: 0, host: "127.0.0.1" },
      ...more,
      plugins: [tilewright(options), listen, ...(more.plugins ?? [])],
    };
  }

  private logger(level: LogLevel = "info"): Logger {
    const hear = (text: string) => void this.told.push(text);
    return { ...createLogger(level), info: hear, warn: hear, warnOnce: hear, error: hear };
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

const projects: ViteProject[] = [];

/** A project that goes with `removeProjects`, which is for a test file's `afterAll`. */
export function project(files: Readonly<Record<string, string | Uint8Array>>): ViteProject {
  const p = new ViteProject(files);
  projects.push(p);
  return p;
}

export function removeProjects(): void {
  for (const p of projects.splice(0)) p.remove();
}

/** What Node prints that runs in a project. */
export async function runNode(p: ViteProject, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, args, { cwd: p.path, encoding: "utf8" })).stdout;
}

/** The one address that a server listens at. */
export function urlOf(server: { readonly resolvedUrls: { readonly local: readonly string[] } | null }): string {
  return server.resolvedUrls?.local[0] ?? "";
}
