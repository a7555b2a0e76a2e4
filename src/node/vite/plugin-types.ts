/**
 * The parts of Vite's interfaces that the plugin uses, so that the package's types need no Vite. That the plugin is one of Vite's is
 * checked by a test.
 */

/** What the hooks that load and render get as `this`. */
export interface LoadContext {
  readonly addWatchFile: (file: string) => void;
  readonly error: (error: { readonly message: string; readonly id?: string; readonly stack?: string; readonly code?: string }) => never;
  readonly environment?: Environment;
}
interface Environment {
  readonly name: string;
  readonly config: { readonly consumer: "client" | "server" };
}

/** What the hook that is told of changes gets as `this`. */
export interface HotContext {
  readonly environment: { readonly moduleGraph: { getModuleById(id: string): unknown } };
}

export interface Logger {
  readonly info: (text: string, options?: { readonly timestamp?: boolean }) => void;
  readonly warn: (text: string, options?: { readonly timestamp?: boolean }) => void;
}

export interface ResolvedConfig {
  readonly root: string;
  readonly cacheDir: string;
  readonly command: "serve" | "build";
  readonly logger: Logger;
  readonly server: { readonly fs: { readonly allow: string[] } };
}

/** What the plugin adds to a configuration. */
export interface ConfigAddition {
  readonly worker: { readonly plugins: () => VitePlugin[] };
  readonly server?: { readonly headers: Record<string, string> };
  readonly preview?: { readonly headers: Record<string, string> };
}

interface Loaded {
  readonly code: string;
  readonly map: { readonly mappings: "" };
  readonly moduleSideEffects: false;
}

/** A plugin, as Vite's `plugins` takes it. */
export interface VitePlugin {
  readonly name: string;
  readonly enforce: "pre";
  config(): ConfigAddition;
  configResolved(config: ResolvedConfig): void;
  resolveId(id: string): { readonly id: string; readonly external: true } | null;
  load(this: LoadContext, id: string, options?: { readonly ssr?: boolean | undefined }): Promise<Loaded | null>;
  watchChange(file: string): void;
  hotUpdate(this: HotContext, change: { readonly file: string; readonly modules: unknown[] }): never[] | undefined;
  renderChunk(code: string, chunk: { readonly fileName: string }): { readonly code: string; readonly map: null } | null;
  writeBundle(this: { readonly environment?: Environment }, options: { readonly dir?: string | undefined }): void;
  configureServer(server: { readonly httpServer: { once(event: "close", listener: () => void): unknown } | null }): void;
  buildEnd(error?: Error): void;
}
