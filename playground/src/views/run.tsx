import { useEffect, useState } from "preact/hooks";
import { parseDType } from "../../../src/base/dtype.ts";
import { type KnownSizes, pictureInput, readInput } from "../../../src/data/inputs.ts";
import { type Picture, type PictureLayout, pictureLayout } from "../../../src/data/pictures.ts";
import type { PortView, RunRequest } from "../../../src/explorer/types.ts";
import { count, duration } from "../format.ts";
import { client, errorInfo, exampleName } from "../open.ts";
import { exploration, lastRun, phase, program, sizes } from "../state.ts";
import { Choice, Empty } from "../ui/parts.tsx";
import { ErrorReport } from "./errors.tsx";
import { Results } from "./results.tsx";
import { Sizes } from "./sizes.tsx";
import { decodePicture, DrawPad, PicturePreview, examplePictures } from "./pictures.tsx";

type Kind = "random" | "file" | "draw";
type Value = NonNullable<RunRequest["inputs"]>[string];

/** What is given for one input. */
interface Given {
  readonly kind: Kind;
  readonly value?: Value;
  /** What the value is from. */
  readonly source?: string;
  readonly picture?: Picture;
  readonly error?: string;
}

/** How pictures are brought to the range that the model expects; one number for each channel, or one for all. */
interface Norm {
  readonly mean: string;
  readonly std: string;
}

/** Inputs to give, a button, and what came out. */
export function RunPanel() {
  const model = exploration.value?.model;
  const [given, setGiven] = useState<Readonly<Record<string, Given>>>({});
  const [norm, setNorm] = useState<Norm>({ mean: "0", std: "1" });
  const [seed, setSeed] = useState(1);
  const [state, setState] = useState<{ readonly error: unknown } | "idle" | "busy">("idle");
  useEffect(() => {
    // The example comes with pictures; of other models nothing is known.
    setGiven(phase.value.kind === "ready" && phase.value.name === exampleName ? { image: { kind: "file" } } : {});
  }, [exploration.value]);
  if (model === undefined || program.value === null) return <Empty title="There is nothing to run: the model could not be compiled" />;

  const run = async (values: Readonly<Record<string, Given>>) => {
    setState("busy");
    try {
      const inputs = Object.fromEntries(
        Object.entries(values).flatMap(([name, g]) => (g.kind === "random" || g.value === undefined ? [] : [[name, g.value]])),
      );
      lastRun.value = await client().run({ inputs, sizes: sizes.value, seed });
      setState("idle");
    } catch (error) {
      setState({ error });
    }
  };
  const give = (name: string, g: Given, at_once: boolean) => {
    const all = { ...given, [name]: g };
    setGiven(all);
    if (at_once && Object.values(all).every((x) => x.error === undefined)) void run(all);
  };
  const missing = Object.entries(given).find(([, g]) => g.kind !== "random" && g.value === undefined);
  return (
    <div class="run">
      <form
        class="card"
        onSubmit={(e) => {
          e.preventDefault();
          void run(given);
        }}
      >
        <h2>Inputs</h2>
        <Sizes />
        {model.inputs.map((port) => (
          <InputField
            key={port.name}
            port={port}
            given={given[port.name] ?? { kind: "random" }}
            sizes={{ shapes: {}, symbols: new Map(Object.entries(sizes.value)) }}
            norm={norm}
            onGive={(g, at_once) => give(port.name, g, at_once)}
          />
        ))}
        {Object.values(given).some((g) => g.picture !== undefined) ? <NormFields norm={norm} onChange={setNorm} /> : null}
        <div class="toolbar">
          <button type="submit" class="button primary" disabled={state === "busy" || missing !== undefined}>
            {state === "busy" ? "Running…" : "Run"}
          </button>
          <label>
            Seed{" "}
            <input
              type="number"
              min={0}
              step={1}
              value={seed}
              onChange={(e) => setSeed(e.currentTarget.valueAsNumber || 0)}
              aria-describedby="seed-note"
            />
          </label>
          <span id="seed-note" class="muted">
            of random inputs
          </span>
        </div>
      </form>
      <section class="card" aria-live="polite" aria-busy={state === "busy"}>
        {typeof state === "object" ? <ErrorReport error={errorInfo(state.error)} problems={[]} /> : <Outcome />}
      </section>
    </div>
  );
}

function Outcome() {
  const r = lastRun.value;
  if (r === null) return <Empty title="What comes out will stand here" />;
  return (
    <>
      <div class="card-head">
        <h2>Outputs</h2>
        <span class="muted" title={r.threadsReason}>
          {duration(r.ms)}, {r.threads === 1 ? "one thread" : `${count(r.threads)} threads`}
        </span>
      </div>
      <Results run={r} />
    </>
  );
}

function NormFields(p: { readonly norm: Norm; readonly onChange: (n: Norm) => void }) {
  return (
    <fieldset class="norm">
      <legend>Pictures are scaled to 0…1, then</legend>
      <label>
        minus mean <input type="text" value={p.norm.mean} onChange={(e) => p.onChange({ ...p.norm, mean: e.currentTarget.value })} />
      </label>
      <label>
        divided by deviation <input type="text" value={p.norm.std} onChange={(e) => p.onChange({ ...p.norm, std: e.currentTarget.value })} />
      </label>
      <p class="muted">One number, or one for each channel: 0.485, 0.456, 0.406</p>
    </fieldset>
  );
}

const numbers = (text: string): number[] =>
  text
    .split(/[\s,]+/)
    .filter((t) => t !== "")
    .map(Number)
    .filter(Number.isFinite);

/** One input: random, from a file, or drawn where it is a small grey picture. */
function InputField(p: {
  readonly port: PortView;
  readonly given: Given;
  readonly sizes: KnownSizes;
  readonly norm: Norm;
  readonly onGive: (g: Given, at_once: boolean) => void;
}) {
  const { port, given } = p;
  const dims = port.dims ?? [];
  const info = { name: port.name, dtype: port.dtype, dims };
  const layout = layoutOf(port, p.sizes);
  const canDraw =
    layout !== null && layout.channels === 1 && Math.max(layout.width, layout.height) <= 128 && Math.min(layout.width, layout.height) >= 4;
  const kinds: { id: Kind; label: string }[] = [
    { id: "random", label: "Random" },
    { id: "file", label: "File" },
    ...(canDraw ? [{ id: "draw" as const, label: "Draw" }] : []),
  ];
  const fromPicture = (picture: Picture, kind: Kind, source: string, norm: Norm): Given => {
    const value = pictureInput(info, source, () => picture, onePicture(port, p.sizes), { mean: numbers(norm.mean), std: numbers(norm.std) });
    return { kind, source, picture, value };
  };
  const attempt = async (make: () => Given | Promise<Given>, kind: Kind, at_once: boolean) => {
    try {
      p.onGive(await make(), at_once);
    } catch (e) {
      p.onGive({ kind, error: errorInfo(e).message }, false);
    }
  };
  const takeFile = (file: File) =>
    void attempt(
      async () => {
        if (/\.(png|jpe?g|webp|gif|bmp|avif)$/i.test(file.name)) return fromPicture(await decodePicture(file), "file", file.name, p.norm);
        const value = readInput(info, file.name, new Uint8Array(await file.arrayBuffer()), p.sizes);
        return { kind: "file", source: file.name, value };
      },
      "file",
      true,
    );
  // Another mean or deviation: the picture is brought to them anew.
  useEffect(() => {
    const { picture, kind, source = "" } = given;
    if (picture !== undefined) void attempt(() => fromPicture(picture, kind, source, p.norm), kind, true);
  }, [p.norm]);
  return (
    <fieldset
      class="input-field"
      onDrop={(e) => {
        const [file] = e.dataTransfer?.files ?? [];
        if (file === undefined || /\.(onnx|tw)$/i.test(file.name)) return;
        e.preventDefault();
        takeFile(file);
      }}
    >
      <legend>
        <span class="name">{port.name}</span>{" "}
        <span class="muted">
          {port.dtype} {dims.join(" × ")}
        </span>
      </legend>
      <Choice label={`Value of ${port.name}`} items={kinds} selected={given.kind} onSelect={(kind) => p.onGive({ kind }, false)} />
      {given.kind === "random" ? <p class="muted">{randomText(port.dtype)}</p> : null}
      {given.kind === "file" ? (
        <>
          <FileField port={port} layout={layout !== null} source={given.source} onFile={takeFile} />
          {layout !== null && phase.value.kind === "ready" && phase.value.name === exampleName ? (
            <ul class="examples" aria-label="Pictures that come with the example">
              {examplePictures.map((x) => (
                <li key={x.name}>
                  <button
                    type="button"
                    aria-label={`Picture ${x.name}`}
                    onClick={() =>
                      void attempt(
                        async () => fromPicture(await decodePicture(await (await fetch(x.url)).blob()), "file", x.name, p.norm),
                        "file",
                        true,
                      )
                    }
                  >
                    <img src={x.url} alt="" width={32} height={32} />
                  </button>
                </li>
              ))}
            </ul>
          ) : null}
        </>
      ) : null}
      {given.kind === "draw" && layout !== null ? (
        <DrawPad layout={layout} onDraw={(picture) => void attempt(() => fromPicture(picture, "draw", "drawing", p.norm), "draw", true)} />
      ) : null}
      {given.error === undefined ? null : (
        <p class="error-text" role="alert">
          {given.error}
        </p>
      )}
      {given.picture !== undefined && given.value !== undefined && layout !== null ? (
        <PicturePreview layout={layout} data={given.value.data as Float32Array} />
      ) : null}
    </fieldset>
  );
}

/** Sizes with a batch of one, where the batch is open: a picture is one picture. */
function onePicture(port: PortView, sizes: KnownSizes): KnownSizes {
  const [batch] = port.dims ?? [];
  return port.dims?.length === 4 && typeof batch === "string" ? { ...sizes, symbols: new Map([...sizes.symbols, [batch, 1]]) } : sizes;
}

/** Channels, height and width of an input that pictures fit; null for others. */
function layoutOf(port: PortView, sizes: KnownSizes): PictureLayout | null {
  const { symbols } = onePicture(port, sizes);
  const dims = port.dims?.map((d) => (typeof d === "number" ? d : symbols.get(d))) ?? [];
  return port.dtype === "f32" && dims.every((d) => d !== undefined) ? pictureLayout(dims) : null;
}

function randomText(dtype: string): string {
  return parseDType(dtype).isFloat ? "Numbers from −1 to 1, drawn evenly." : "Zeros and ones.";
}

function FileField(p: {
  readonly port: PortView;
  readonly layout: boolean;
  readonly source: string | undefined;
  readonly onFile: (f: File) => void;
}) {
  const kinds = p.layout ? ".npy,.raw,.bin,.json,.png,.jpg,.jpeg,.webp,.gif,.bmp,.avif" : ".npy,.raw,.bin,.json";
  return (
    <p>
      <input
        type="file"
        accept={kinds}
        aria-label={`File for ${p.port.name}`}
        onChange={(e) => {
          const [file] = e.currentTarget.files ?? [];
          if (file !== undefined) p.onFile(file);
        }}
      />
      <span class="muted block">{p.layout ? "A picture (PNG, JPEG, WebP), or " : ""}.npy, .raw, .json</span>
    </p>
  );
}
