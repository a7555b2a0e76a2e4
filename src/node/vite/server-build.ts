import fs from "node:fs";
import path from "node:path";

const prefix = "tilewright-artifact:";

/**
 * Artifacts in builds for servers. There Vite emits no assets, so an artifact is not bundled: its folder is copied beside what is
 * built, as it is, and imported from there.
 */
export class ServerBuild {
  private readonly folders = new Map<string, string>();

  /** What a module imports an artifact's folder as. `name` is for the eye. */
  add(folder: string, name: string): string {
    const unique = `${name.replace(/[^\w.-]+/g, "-")}-${path.basename(folder).slice(0, 8)}`;
    this.folders.set(unique, folder);
    return `${prefix}${unique}`;
  }

  has(id: string): boolean {
    return id.startsWith(prefix) && this.folders.has(id.slice(prefix.length));
  }

  /** A chunk with the places of the copied folders, as seen from where it will lie; null when it imports none. */
  render(code: string, chunkFile: string): string | null {
    let text = code;
    for (const name of this.folders.keys()) {
      const target = path.posix.relative(path.posix.dirname(chunkFile), `models/${name}/model.js`);
      text = text.replaceAll(`"${prefix}${name}"`, JSON.stringify(target.startsWith(".") ? target : `./${target}`));
    }
    return text === code ? null : text;
  }

  /** Copies the folders that were added. */
  write(dir: string): void {
    for (const [name, folder] of this.folders) fs.cpSync(folder, path.join(dir, "models", name), { recursive: true });
  }
}
