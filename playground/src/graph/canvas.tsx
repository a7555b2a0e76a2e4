import { useEffect, useRef } from "preact/hooks";
import { type Camera, type Palette, type View, boxAt, draw, indexOf } from "./draw.ts";
import type { Layout } from "./layout.ts";
import type { Family, Scene } from "./scene.ts";

const scales = { least: 0.02, most: 2.5 };
/** A graph that would be smaller than this to fit is shown from its top instead. */
const readable = 0.55;

/** What buttons outside of the canvas do to it. */
export interface CanvasControl {
  fit(): void;
  zoom(factor: number): void;
  /** Brings a box to the middle. */
  reveal(box: number): void;
}

/**
 * The drawing of a graph: dragged and scrolled, zoomed with Ctrl and the wheel; arrow keys follow the edges. Only what is in view
 * is drawn, once a frame, and only when something changed.
 */
export function GraphCanvas(p: {
  readonly scene: Scene;
  readonly layout: Layout;
  readonly selected: number | null;
  readonly picked: ReadonlySet<number>;
  readonly onSelect: (box: number | null) => void;
  readonly onOpen: (box: number) => void;
  readonly control: (c: CanvasControl) => void;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const props = useRef(p);
  props.current = p;
  const painter = useRef<Painter | null>(null);
  useEffect(() => {
    if (canvas.current === null) return;
    const made = new Painter(canvas.current, props);
    painter.current = made;
    p.control(made);
    return () => made.stop();
  }, []);
  useEffect(() => painter.current?.load(), [p.scene, p.layout]);
  useEffect(() => painter.current?.redraw(), [p.selected, p.picked]);
  return (
    // A drawing that keys move through is an application to assistive technology.
    // biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: see above
    <canvas
      ref={canvas}
      tabIndex={0}
      role="application"
      aria-label="Graph of the model. Arrow keys lead along its edges, plus and minus zoom, 0 shows all, Enter opens the kernel of a node."
    />
  );
}

type Props = Parameters<typeof GraphCanvas>[0];

/** Owns the canvas: the camera, events, frames. */
class Painter implements CanvasControl {
  private readonly canvas: HTMLCanvasElement;
  private readonly props: { readonly current: Props };
  private readonly context: CanvasRenderingContext2D | null;
  private readonly control = new AbortController();
  private readonly resizes: ResizeObserver;
  private camera: Camera = { x: 0, y: 0, scale: 1 };
  private hovered: number | null = null;
  private index: ReturnType<typeof indexOf> | null = null;
  private palette: Palette;
  private frame = 0;
  private drag: { x: number; y: number; moved: boolean } | null = null;
  private placed = false;

  constructor(canvas: HTMLCanvasElement, props: { readonly current: Props }) {
    this.canvas = canvas;
    this.props = props;
    this.context = canvas.getContext("2d");
    this.palette = readPalette(canvas);
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(canvas);
    const { signal } = this.control;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour(), { signal });
    canvas.addEventListener("pointerdown", (e) => this.onDown(e), { signal });
    canvas.addEventListener("pointermove", (e) => this.onMove(e), { signal });
    canvas.addEventListener("pointerup", (e) => this.onUp(e), { signal });
    canvas.addEventListener("pointerleave", () => this.hover(null), { signal });
    canvas.addEventListener("dblclick", () => this.open(), { signal });
    canvas.addEventListener("wheel", (e) => this.onWheel(e), { signal, passive: false });
    canvas.addEventListener("keydown", (e) => this.onKey(e), { signal });
  }

  stop(): void {
    this.control.abort();
    this.resizes.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Another graph. */
  load(): void {
    const { scene, layout } = this.props.current;
    this.index = indexOf(scene, layout);
    this.placed = false;
    this.place();
    this.redraw();
  }

  redraw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  fit(): void {
    const { layout } = this.props.current;
    const { width, height } = this.size();
    const scale = clamp(Math.min(width / (layout.width + 60), height / (layout.height + 60), 1.2));
    this.look({ scale, x: layout.width / 2 - width / scale / 2, y: layout.height / 2 - height / scale / 2 });
  }

  zoom(factor: number, at?: { readonly x: number; readonly y: number }): void {
    const { width, height } = this.size();
    const { x, y } = at ?? { x: width / 2, y: height / 2 };
    const { camera: c } = this;
    const scale = clamp(c.scale * factor);
    this.look({ scale, x: c.x + x / c.scale - x / scale, y: c.y + y / c.scale - y / scale });
  }

  reveal(box: number): void {
    const { layout } = this.props.current;
    const { width, height } = this.size();
    const scale = Math.max(this.camera.scale, 0.8);
    this.placed = true;
    this.look({ scale, x: (layout.x[box] ?? 0) - width / scale / 2, y: (layout.y[box] ?? 0) - height / scale / 2 });
  }

  private size(): { width: number; height: number } {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  /** Where to look at first: at all of it, or at the top where all would be too small. */
  private place(): void {
    const { width, height } = this.size();
    if (this.placed || this.index === null || width === 0 || height === 0) return;
    this.placed = true;
    this.fit();
    if (this.camera.scale >= readable) return;
    const { scene, layout } = this.props.current;
    const first = scene.boxes.findIndex((b) => b.node.kind === "input");
    const scale = 0.85;
    const at = Math.max(0, first);
    this.look({ scale, x: (layout.x[at] ?? 0) - width / scale / 2, y: (layout.y[at] ?? 0) - 60 / scale });
  }

  private look(camera: Camera): void {
    this.camera = camera;
    this.redraw();
  }

  private resize(): void {
    const { width, height } = this.size();
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.place();
    this.paint();
  }

  private recolour(): void {
    this.palette = readPalette(this.canvas);
    this.redraw();
  }

  private paint(): void {
    const { scene, layout, selected, picked } = this.props.current;
    if (this.context === null || this.index === null) return;
    const v: View = {
      ...this.size(),
      camera: this.camera,
      ratio: devicePixelRatio,
      palette: this.palette,
      hovered: this.hovered,
      selected,
      picked,
    };
    draw(this.context, scene, layout, this.index, v);
  }

  private under(e: MouseEvent): number | null {
    const { scene, layout } = this.props.current;
    const { camera: c } = this;
    return this.index === null ? null : boxAt(scene, layout, this.index, c.x + e.offsetX / c.scale, c.y + e.offsetY / c.scale);
  }

  private hover(box: number | null): void {
    if (box === this.hovered) return;
    this.hovered = box;
    this.canvas.style.cursor = box === null ? "" : "pointer";
    this.redraw();
  }

  private onDown(e: PointerEvent): void {
    if (e.button !== 0) return;
    this.drag = { x: e.offsetX, y: e.offsetY, moved: false };
    this.canvas.setPointerCapture(e.pointerId);
  }
  private onMove(e: PointerEvent): void {
    const { drag, camera: c } = this;
    if (drag === null) {
      this.hover(this.under(e));
      return;
    }
    const [dx, dy] = [e.offsetX - drag.x, e.offsetY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    this.drag = { x: e.offsetX, y: e.offsetY, moved: true };
    this.look({ ...c, x: c.x - dx / c.scale, y: c.y - dy / c.scale });
  }
  private onUp(e: PointerEvent): void {
    const { drag } = this;
    this.drag = null;
    if (drag !== null && !drag.moved) this.props.current.onSelect(this.under(e));
  }
  private onWheel(e: WheelEvent): void {
    e.preventDefault();
    const unit = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
    if (e.ctrlKey || e.metaKey) {
      this.zoom(2 ** (-e.deltaY * unit * 0.006), { x: e.offsetX, y: e.offsetY });
      return;
    }
    const { camera: c } = this;
    const [dx, dy] = e.shiftKey && e.deltaX === 0 ? [e.deltaY, 0] : [e.deltaX, e.deltaY];
    this.look({ ...c, x: c.x + (dx * unit) / c.scale, y: c.y + (dy * unit) / c.scale });
  }

  private open(): void {
    const { selected, onOpen } = this.props.current;
    if (selected !== null) onOpen(selected);
  }

  private onKey(e: KeyboardEvent): void {
    const { onSelect } = this.props.current;
    const actions: Readonly<Record<string, () => void>> = {
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      "0": () => this.fit(),
      Enter: () => this.open(),
      Escape: () => onSelect(null),
    };
    const action = actions[e.key] ?? this.stepOf(e.key);
    if (action === null || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    action();
  }

  /** Where an arrow key leads: along the first edge down or up, or to the next box at the same height. */
  private stepOf(key: string): (() => void) | null {
    const { scene, layout, selected, onSelect } = this.props.current;
    const to = (box: number | undefined) => () => {
      if (box === undefined) return;
      onSelect(box);
      this.follow(box);
    };
    if (key === "Home" || (key.startsWith("Arrow") && selected === null)) return to(scene.boxes.length > 0 ? 0 : undefined);
    if (selected === null) return null;
    switch (key) {
      case "ArrowDown":
        return to(scene.after[selected]?.[0]);
      case "ArrowUp":
        return to(scene.before[selected]?.[0]);
      case "ArrowLeft":
      case "ArrowRight":
        return to(beside(scene, layout, selected, key === "ArrowLeft" ? -1 : 1));
      default:
        return null;
    }
  }

  /** Moves just enough for a box to be in view. */
  private follow(box: number): void {
    const { layout } = this.props.current;
    const { camera: c } = this;
    const { width, height } = this.size();
    const [x, y] = [((layout.x[box] ?? 0) - c.x) * c.scale, ((layout.y[box] ?? 0) - c.y) * c.scale];
    const [mx, my] = [Math.min(120, width / 4), Math.min(90, height / 4)];
    const dx = x < mx ? x - mx : x > width - mx ? x - width + mx : 0;
    const dy = y < my ? y - my : y > height - my ? y - height + my : 0;
    this.look({ ...c, x: c.x + dx / c.scale, y: c.y + dy / c.scale });
  }
}

/** The nearest box to the left or right, at about the same height. */
function beside(scene: Scene, layout: Layout, from: number, direction: 1 | -1): number | undefined {
  const [x, y] = [layout.x[from] ?? 0, layout.y[from] ?? 0];
  let best: number | undefined;
  scene.boxes.forEach((_, i) => {
    const d = ((layout.x[i] ?? 0) - x) * direction;
    if (d <= 0 || Math.abs((layout.y[i] ?? 0) - y) > 30) return;
    if (best === undefined || d < Math.abs((layout.x[best] ?? 0) - x)) best = i;
  });
  return best;
}

const clamp = (scale: number): number => Math.min(scales.most, Math.max(scales.least, scale));

function readPalette(el: Element): Palette {
  const style = getComputedStyle(el);
  const read = (name: string) => style.getPropertyValue(name).trim();
  const families: readonly Family[] = ["port", "product", "elementwise", "reduce", "move", "control", "constant", "other"];
  const of = (kind: string) => Object.fromEntries(families.map((f) => [f, read(`--${kind}-${f}`)])) as Record<Family, string>;
  return {
    text: read("--text"),
    muted: read("--muted"),
    line: read("--edge"),
    accent: read("--accent"),
    surface: read("--surface"),
    picked: read("--picked"),
    fills: of("fill"),
    strokes: of("stroke"),
    font: style.fontFamily,
  };
}
