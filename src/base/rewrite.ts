import { InternalError } from "./errors.ts";

/**
 * The rewrite engine: local rules on operations in SSA form, driven by a worklist. An IR takes part by having nodes with
 * operands, results and nested blocks; what is special to it is in its `RewriteDialect`.
 *
 * Work is near linear in the number of nodes: a node is visited when it is new, when one of its operands was replaced,
 * and when it became the only user of a value. Nothing here recurses over the graph.
 */
export interface RewriteNode<V, B> {
  readonly operands: readonly V[];
  readonly results: readonly V[];
  readonly regions: readonly B[];
}
export interface RewriteBlock<V, N> {
  readonly params: readonly V[];
  readonly ops: readonly N[];
  readonly results: readonly V[];
}

export interface RewriteDialect<V, N, B> {
  /** What rules are looked up by: the name of the node's operation. */
  kind(node: N): string;
  /** The node with other operands and nested blocks, and the same results. */
  rebuild(node: N, operands: readonly V[], regions: readonly B[]): N;
  /** The block with other nodes and results. */
  block(block: B, nodes: readonly N[], results: readonly V[]): B;
  /** Does the node stay as it is, even if nobody uses a result of it? */
  keeps(node: N): boolean;
  /** What is wrong with `by` in the place of `old` (another type), naming both; or null. */
  mismatch(old: V, by: V): string | null;
}

/** A rewrite as named data; `C` is what the dialect offers to rules. */
export interface RewriteRule<N, V, C> {
  readonly name: string;
  readonly doc: string;
  /** Kinds of nodes that it is tried on; "any" means all. */
  readonly roots: readonly string[] | "any";
  /** Values to use in place of the node's results, made through the context (no node with nested blocks); null when it does not fit. */
  readonly rewrite: (node: N, context: C) => readonly V[] | null;
}

/** Rules by the kind of their root, in the order in which they are tried. */
export class RuleTable<N, V, C> {
  private readonly rules: readonly RewriteRule<N, V, C>[];
  private readonly cache = new Map<string, readonly RewriteRule<N, V, C>[]>();
  constructor(rules: readonly RewriteRule<N, V, C>[]) {
    this.rules = rules;
  }
  for(kind: string): readonly RewriteRule<N, V, C>[] {
    let list = this.cache.get(kind);
    if (list === undefined) {
      list = this.rules.filter((r) => r.roots === "any" || r.roots.includes(kind));
      this.cache.set(kind, list);
    }
    return list;
  }
}

/** A node's place in the linked list of its block. */
interface Cell<V, N, B> {
  node: N;
  readonly home: Home<V, N, B>;
  prev: Cell<V, N, B> | null;
  next: Cell<V, N, B> | null;
  alive: boolean;
  queued: boolean;
  stale: boolean;
  /** How many rewrites made it what it is. */
  readonly generation: number;
}

/** A block while it is rewritten. */
interface Home<V, N, B> {
  readonly block: B;
  first: Cell<V, N, B> | null;
  last: Cell<V, N, B> | null;
  readonly inner: Map<B, Home<V, N, B>>;
}

/** A rewritten node may be rewritten this often again: a safety net under rules that undo each other. */
const generationLimit = 64;
/** Key of `rules` under which visits of nodes are counted: the measure of work. */
export const visitCount = "nodes visited";

export class Rewriter<V, N extends RewriteNode<V, B>, B extends RewriteBlock<V, N>> {
  private readonly dialect: RewriteDialect<V, N, B>;
  private readonly top: Home<V, N, B>;
  private readonly makers = new Map<V, Cell<V, N, B>>();
  private readonly users = new Map<V, Set<Cell<V, N, B>>>();
  private readonly yields = new Map<V, number>();
  private readonly replaced = new Map<V, V>();
  private readonly stack: Cell<V, N, B>[] = [];
  private current: Cell<V, N, B> | null = null;
  private changed = false;
  /** Called with every node when it comes in or its operands change, in an order in which operands come first. */
  onNode: (node: N) => void = () => {};

  constructor(dialect: RewriteDialect<V, N, B>, block: B) {
    this.dialect = dialect;
    this.top = { block, first: null, last: null, inner: new Map() };
  }

  /** The value that stands for `v` now. */
  resolve(v: V): V {
    let end = v;
    for (let w = this.replaced.get(end); w !== undefined; w = this.replaced.get(end)) end = w;
    let at = v;
    while (at !== end) {
      const w = this.replaced.get(at) as V;
      this.replaced.set(at, end);
      at = w;
    }
    return end;
  }
  /** The node that makes `v`, its operands up to date; undefined for parameters. */
  maker(v: V): N | undefined {
    const cell = this.makers.get(this.resolve(v));
    if (cell === undefined) return undefined;
    this.refresh(cell);
    return cell.node;
  }
  /** The node that makes `v` when it stands in the same block as the node being rewritten. */
  localMaker(v: V): N | undefined {
    const cell = this.makers.get(this.resolve(v));
    if (cell === undefined || cell.home !== this.current?.home) return undefined;
    this.refresh(cell);
    return cell.node;
  }
  /** Number of nodes that use `v`, plus how often blocks give it as a result. */
  useCount(v: V): number {
    const r = this.resolve(v);
    return (this.users.get(r)?.size ?? 0) + (this.yields.get(r) ?? 0);
  }
  /** The nodes that use `v` as an operand. */
  usersOf(v: V): N[] {
    return [...(this.users.get(this.resolve(v)) ?? [])].map((cell) => {
      this.refresh(cell);
      return cell.node;
    });
  }

  /**
   * Applies rules until none fits, and drops what nobody uses. `context` is made once; `made` gives the nodes that a rule
   * made through it, in order. Counts fired rules in `rules`. Gives the same block when nothing changed.
   * @throws InternalError `rewrite-type` when a rule replaces a value by one of another type
   */
  run<C>(table: RuleTable<N, V, C>, context: C, begin: (node: N) => void, made: () => readonly N[], rules: Map<string, number>): B {
    this.enter(this.top);
    this.stack.reverse();
    const count = (name: string): void => {
      rules.set(name, (rules.get(name) ?? 0) + 1);
    };
    for (let cell = this.stack.pop(); cell !== undefined; cell = this.stack.pop()) {
      cell.queued = false;
      if (!cell.alive) continue;
      count(visitCount);
      this.refresh(cell);
      if (this.dialect.keeps(cell.node)) continue;
      if (cell.node.results.every((r) => this.useCount(r) === 0)) {
        this.erase(cell);
        count("dead-code");
        continue;
      }
      if (cell.generation > generationLimit) continue;
      this.current = cell;
      for (const rule of table.for(this.dialect.kind(cell.node))) {
        begin(cell.node);
        const values = rule.rewrite(cell.node, context);
        const nodes = made();
        if (values === null) continue;
        this.substitute(cell, rule.name, nodes, values);
        count(rule.name);
        break;
      }
    }
    return this.changed ? this.leave(this.top) : this.top.block;
  }

  /** Takes in a block and all nested ones. */
  private enter(home: Home<V, N, B>): void {
    const open: { home: Home<V, N, B>; at: number }[] = [{ home, at: 0 }];
    while (open.length > 0) {
      const frame = open[open.length - 1] as { home: Home<V, N, B>; at: number };
      const node = frame.home.block.ops[frame.at++];
      if (node === undefined) {
        for (const r of frame.home.block.results) this.yields.set(r, (this.yields.get(r) ?? 0) + 1);
        open.pop();
        continue;
      }
      this.link(frame.home, this.cell(node, frame.home, 0), null);
      for (const b of node.regions) {
        const inner: Home<V, N, B> = { block: b, first: null, last: null, inner: new Map() };
        frame.home.inner.set(b, inner);
        open.push({ home: inner, at: 0 });
      }
    }
  }
  private cell(node: N, home: Home<V, N, B>, generation: number): Cell<V, N, B> {
    return { node, home, prev: null, next: null, alive: true, queued: false, stale: false, generation };
  }
  /** Puts a cell in front of another (null: at the end) and into the maps. */
  private link(home: Home<V, N, B>, cell: Cell<V, N, B>, before: Cell<V, N, B> | null): void {
    const prev = before === null ? home.last : before.prev;
    cell.prev = prev;
    cell.next = before;
    if (prev === null) home.first = cell;
    else prev.next = cell;
    if (before === null) home.last = cell;
    else before.prev = cell;
    for (const r of cell.node.results) this.makers.set(r, cell);
    for (const o of cell.node.operands) this.use(o, cell);
    this.onNode(cell.node);
    this.enqueue(cell);
  }
  private use(v: V, cell: Cell<V, N, B>): void {
    const set = this.users.get(v);
    if (set === undefined) this.users.set(v, new Set([cell]));
    else set.add(cell);
  }
  private enqueue(cell: Cell<V, N, B>): void {
    if (cell.queued || !cell.alive) return;
    cell.queued = true;
    this.stack.push(cell);
  }
  /** Brings the operands of a node up to date. */
  private refresh(cell: Cell<V, N, B>): void {
    if (!cell.stale) return;
    cell.stale = false;
    cell.node = this.dialect.rebuild(
      cell.node,
      cell.node.operands.map((o) => this.resolve(o)),
      cell.node.regions,
    );
    this.onNode(cell.node);
  }
  /** Takes a node out; its operands lose a user, which may make their makers dead or other users the only ones. */
  private erase(cell: Cell<V, N, B>): void {
    this.changed = true;
    const dead = [cell];
    for (let c = dead.pop(); c !== undefined; c = dead.pop()) {
      c.alive = false;
      if (c.prev === null) c.home.first = c.next;
      else c.prev.next = c.next;
      if (c.next === null) c.home.last = c.prev;
      else c.next.prev = c.prev;
      for (const r of c.node.results) this.makers.delete(r);
      for (const o of new Set(c.node.operands)) this.forget(this.resolve(o), c);
      for (const b of c.node.regions) {
        const inner = c.home.inner.get(b);
        for (const r of b.results) this.unyield(this.resolve(r));
        for (let n = inner?.first ?? null; n !== null; n = n.next) dead.push(n);
      }
    }
  }
  private unyield(v: V): void {
    this.yields.set(v, (this.yields.get(v) ?? 1) - 1);
    this.lostUse(v);
  }
  private forget(v: V, user: Cell<V, N, B>): void {
    this.users.get(v)?.delete(user);
    this.lostUse(v);
  }
  private lostUse(v: V): void {
    const left = this.useCount(v);
    if (left > 1) return;
    const maker = this.makers.get(v);
    if (left === 0 && maker !== undefined) this.enqueue(maker);
    else for (const u of this.users.get(v) ?? []) this.enqueue(u);
  }
  private substitute(root: Cell<V, N, B>, rule: string, nodes: readonly N[], values: readonly V[]): void {
    const { results } = root.node;
    results.forEach((old, i) => {
      const by = values[i];
      if (by === undefined) throw new InternalError("rewrite-type", `rule '${rule}' gives ${values.length} values for ${results.length}`);
      const problem = this.dialect.mismatch(old, by);
      if (problem !== null) throw new InternalError("rewrite-type", `rule '${rule}' replaces ${problem}`);
    });
    if (nodes.some((n) => n.regions.length > 0))
      throw new InternalError("rewrite-regions", `rule '${rule}' makes a node with nested blocks, which the engine does not take in`);
    const cells = nodes.map((n) => this.cell(n, root.home, root.generation + 1));
    for (const c of cells) this.link(root.home, c, root);
    // Users are visited after the new nodes: the stack is taken from its end.
    const fresh = this.stack.splice(this.stack.length - cells.length, cells.length);
    results.forEach((old, i) => {
      this.replace(old, values[i] as V);
    });
    this.stack.push(...fresh.reverse());
    this.erase(root);
  }
  private replace(old: V, by: V): void {
    const to = this.resolve(by);
    if (to === old) throw new InternalError("rewrite-type", "a rule replaced a value by itself");
    this.replaced.set(old, to);
    for (const user of this.users.get(old) ?? []) {
      user.stale = true;
      this.use(to, user);
      this.enqueue(user);
    }
    this.users.delete(old);
    const yields = this.yields.get(old) ?? 0;
    if (yields > 0) this.yields.set(to, (this.yields.get(to) ?? 0) + yields);
    this.yields.delete(old);
  }

  /** The block as it is now. Nesting is as deep as the source's, so recursion is bounded by it. */
  private leave(home: Home<V, N, B>): B {
    const nodes: N[] = [];
    for (let c = home.first; c !== null; c = c.next) {
      this.refresh(c);
      const regions = c.node.regions.map((b) => {
        const inner = home.inner.get(b);
        return inner === undefined ? b : this.leave(inner);
      });
      nodes.push(regions.length === 0 ? c.node : this.dialect.rebuild(c.node, c.node.operands, regions));
    }
    return this.dialect.block(
      home.block,
      nodes,
      home.block.results.map((r) => this.resolve(r)),
    );
  }
}
