// Builds each entry point alone, so that every file is self-contained and keeps its plain name:
// Django's manifest storage hashes names, and a worker cannot be split into chunks that a page also loads.
import { build } from "vite";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const outDir = process.env.VIEWER_OUT ?? fileURLToPath(new URL("../static/study/viewer", import.meta.url));
const watch = process.argv.includes("--watch") ? {} : null;
const entries = ["reading-room", "replay", "explorer", "agent-client", "clock-worker", "screen"];

for (const [index, name] of entries.entries()) {
  await build({
    root: here,
    configFile: false,
    logLevel: "warn",
    publicDir: index === 0 ? "public" : false,
    build: {
      outDir,
      emptyOutDir: index === 0,
      target: "es2022",
      modulePreload: false,
      sourcemap: false,
      reportCompressedSize: false,
      watch,
      rollupOptions: {
        input: `${here}src/${name}.ts`,
        preserveEntrySignatures: "strict",
        output: { format: "es", entryFileNames: "[name].js", codeSplitting: false },
      },
    },
  });
}
