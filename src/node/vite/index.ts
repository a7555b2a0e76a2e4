/**
 * `tilewright/vite`: a plugin that compiles the models which modules import, `import { load } from "./model.onnx"`. A model
 * becomes an artifact in Vite's cache folder, and the import one of the artifact's `model.js`: a module like any other, whose
 * neighbours Vite finds by `new URL(…, import.meta.url)`.
 */
import fs from "node:fs";
import path from "node:path";
import { UserError } from "../../base/errors.ts";
import { CompileFailure, Jobs } from "./jobs.ts";
import { type ModelOptions, type Request, isModelId, optionsOfQuery, ownQuery, requestOf, splitId } from "./options.ts";
import type { LoadContext, ResolvedConfig, VitePlugin } from "./plugin-types.ts";
import { Report } from "./report.ts";
import { ServerBuild } from "./server-build.ts";
import { type TypeResolution, writeTypes } from "./types.ts";

export type { ModelOptions } from "./options.ts";
export type { VitePlugin } from "./plugin-types.ts";
export type { TypeResolution } from "./types.ts";

/** Options of the plugin: those of all models, and of single ones. */
export interface TilewrightOptions extends ModelOptions {
  /** Options of single models, by their paths below Vite's root; an import's query comes before them. */
  readonly models?: Readonly<Record<string, ModelOptions>>;
  /** For which `moduleResolution` types are written beside the models: `bundler` (Vite's templates have it) without more. */
  readonly types?: TypeResolution | false;
  /** Where artifacts are kept, Vite's `cacheDir` without more. A relative path starts at Vite's root. */
  readonly cacheDir?: string;
  /** Serve pages (`vite`, `vite preview`) cross-origin isolated, as threads need it. In production the server has to. */
  readonly isolate?: boolean;
}

const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** The plugin. Add it to `plugins` in vite.config.ts; it adds itself to Vite's plugins for workers. */
export function tilewright(options: TilewrightOptions = {}): VitePlugin {
  return pluginWith(options, () => null);
}

/** `jobs` gives those of the plugin that this one is part of, for the bundle of a worker; null where it is the one. */
function pluginWith(options: TilewrightOptions, jobs: () => Jobs | null): VitePlugin {
  let session: Session | null = null;
  const opened = (): Session => {
    if (session === null) throw new UserError("vite", "the plugin was used before Vite resolved its configuration");
    return session;
  };
  return {
    name: "tilewright",
    // Before plugins that take any file for an asset.
    enforce: "pre",
    config: () => ({
      worker: { plugins: () => [pluginWith(options, () => session?.jobs ?? null)] },
      ...(options.isolate ? { server: { headers: { ...isolation } }, preview: { headers: { ...isolation } } } : {}),
    }),
    configResolved(config) {
      session = new Session(options, config, jobs);
    },
    resolveId: (id) => (session?.server.has(id) ? { id, external: true } : null),
    async load(id, o) {
      if (!isModelId(id) || !fs.existsSync(splitId(id).file)) return null;
      const server = this.environment === undefined ? o?.ssr === true : this.environment.config.consumer === "server";
      const target = await opened().importOf(this, id, server);
      return { code: `export * from ${JSON.stringify(target)};\n`, map: { mappings: "" }, moduleSideEffects: false };
    },
    watchChange: (file) => session?.jobs.changed(file),
    hotUpdate({ file, modules }) {
      const more = opened()
        .readersOf(file)
        .map((id) => this.environment.moduleGraph.getModuleById(id))
        .filter((m) => m !== undefined && !modules.includes(m));
      return more.length === 0 ? undefined : ([...modules, ...more] as never[]);
    },
    renderChunk(code, chunk) {
      const text = opened().server.render(code, chunk.fileName);
      return text === null ? null : { code: text, map: null };
    },
    writeBundle({ dir }) {
      if (dir !== undefined && this.environment?.config.consumer !== "client") opened().server.write(dir);
    },
    configureServer({ httpServer }) {
      // When a server starts anew there is another session before the old one ends.
      const { own } = opened();
      httpServer?.once("close", () => own.close());
    },
    buildEnd(error) {
      if (error !== undefined) session?.own.close();
    },
  };
}

/** What the plugin holds under one configuration. */
class Session {
  /** The jobs of this session, unless it is part of another one. */
  readonly own: Jobs;
  readonly server = new ServerBuild();
  private readonly others: () => Jobs | null;
  private readonly options: TilewrightOptions;
  private readonly config: ResolvedConfig;
  private readonly report: Report;
  /** The models that read a file of external data. */
  private readonly readers = new Map<string, Set<string>>();

  constructor(options: TilewrightOptions, config: ResolvedConfig, jobs: () => Jobs | null) {
    const cache = options.cacheDir === undefined ? path.join(config.cacheDir, "tilewright") : path.resolve(config.root, options.cacheDir);
    this.options = options;
    this.config = config;
    this.report = new Report(config);
    this.own = new Jobs(cache);
    this.others = jobs;
    // The development server gives no file outside of the project, wherever the cache may be.
    config.server.fs.allow.push(cache.split(path.sep).join("/"));
  }

  get jobs(): Jobs {
    return this.others() ?? this.own;
  }

  /** The ids of models that read a file as external data. */
  readersOf(file: string): string[] {
    return [...(this.readers.get(file) ?? [])];
  }

  /** Compiles an imported model; gives what to import instead. Errors are told by the hook's `error`. */
  async importOf(context: LoadContext, id: string, server: boolean): Promise<string> {
    const { file, query } = splitId(id);
    const own = ownQuery(query);
    const model = `${this.report.nameOf(file)}${own === "" ? "" : `?${own}`}`;
    context.addWatchFile(file);
    try {
      const request = this.requestFor(file, query);
      if (request.db !== null) context.addWatchFile(request.db);
      const { folder, files, text } = await this.jobs.get(file, request, (step) => this.report.step(model, step));
      this.report.done(model, text);
      this.watch(context, id, files);
      this.declare(file, own, folder);
      if (server && !request.inline && this.config.command === "build") return this.server.add(folder, path.parse(file).name);
      return path.join(folder, "model.js").split(path.sep).join("/");
    } catch (e) {
      this.report.end(model);
      if (e instanceof CompileFailure) this.watch(context, id, e.files);
      else if (!(e instanceof UserError)) throw e;
      // The stack would be one of this plugin's, which tells nobody anything.
      return context.error({ message: `${model} cannot be compiled: ${e.message}`, id, stack: "", code: e.code });
    }
  }

  private watch(context: LoadContext, id: string, files: readonly string[]): void {
    for (const file of files) {
      context.addWatchFile(file);
      const name = file.split(path.sep).join("/");
      this.readers.set(name, (this.readers.get(name) ?? new Set()).add(id));
    }
  }

  private requestFor(file: string, query: string): Request {
    const { models = {}, types: _, cacheDir: __, isolate: ___, ...all } = this.options;
    const absolute = (name: string) => path.resolve(this.config.root, name);
    const own = Object.entries(models).filter(([name]) => absolute(name) === path.resolve(file));
    return requestOf([all, ...own.map(([, o]) => o), optionsOfQuery(query)], absolute);
  }

  /** Types, for models of the project itself. */
  private declare(file: string, query: string, folder: string): void {
    const { types = "bundler" } = this.options;
    if (types === false || this.report.nameOf(file) === file || file.includes("/node_modules/")) return;
    try {
      writeTypes(file, query, folder, types);
    } catch (e) {
      this.report.warn(`the types of ${this.report.nameOf(file)} cannot be written: ${(e as Error).message}`);
    }
  }
}
