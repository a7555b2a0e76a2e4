import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// Headers that let pages share memory between threads. The page works without them, on one thread; any static host will do.
const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export default defineConfig({
  // Relative addresses: the built page works in any folder of any host.
  base: "./",
  // The package's own bundle of the compiler's thread is made when the package is built; here it is bundled from its source.
  resolve: {
    alias: [{ find: /^.*\/browser\/explorer-worker\.js$/, replacement: fileURLToPath(new URL("../src/explorer/thread.ts", import.meta.url)) }],
  },
  build: { target: "es2022", outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0, chunkSizeWarningLimit: 2000 },
  worker: { format: "es" },
  server: { headers, fs: { allow: [".."] } },
  preview: { headers },
});
