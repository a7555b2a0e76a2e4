import { InternalError } from "../../base/errors.ts";
import type { Kernel, Launch } from "../../loop/ir.ts";
import { controlBlock, controlState } from "../../runtime/threads.ts";
import type { Expr } from "../../scalar/expr.ts";
import { type FunctionText, type Symbols, assembleFunction } from "./assemble.ts";
import type { FunctionEmitter } from "./emit.ts";
import { type FunctionType, TypeTable, type WasmFunction } from "./encoder.ts";

/**
 * How a launch is shared. The leader writes the job (which kernel, its arguments, how many iterations, how many in one call)
 * into the control block, opens it by a new value of `state`, and takes calls from `next` like everybody else; when there
 * are none left it closes the job and waits until all workers that joined are done. A worker joins by adding itself to
 * `state` with compare-and-exchange, which succeeds only while the very job that it saw is open. So a job's data change
 * only while nobody reads them, and a worker that sleeps or comes late is not waited for. Which thread runs a call has no
 * influence on what it computes.
 *
 * Workers look at `state` for some hundred microseconds before they sleep, so that launches that follow one another need
 * no system call; the leader does the same for the last calls, and goes on so where it may not sleep.
 */

/** Looks at `state` in one round; a function of its own is optimised by the engine, which a loop that runs on would not be. */
const looks = 2000;
/** Rounds without work before a worker sleeps, and before the leader does. */
const idleRounds = 64;

/** A job's arguments that fit in the control block. */
const mostArgs = (controlBlock.message - controlBlock.args) / 4;

const constants: Symbols = {
  ...controlBlock,
  ...controlState,
  keep: ~(controlState.open | controlState.joined),
  openNext: controlState.job + controlState.open,
  closed: ~controlState.open,
  present: controlState.joined | controlState.open,
  ended: controlState.open | controlState.stop,
  looks,
  idleRounds,
};

const taskType: FunctionType = { params: ["i32", "i32", "i32"], results: [] };

/** Runs calls of the job until none is left. */
const take: FunctionText = {
  name: "take",
  params: ["thread"],
  locals: ["begin", "end", "total", "step"],
  text: `
    i32.const $count
    i32.load
    local.set $total
    i32.const $grain
    i32.load
    local.set $step
    loop
      i32.const $next
      local.get $step
      i32.atomic.rmw.add
      local.tee $begin
      local.get $total
      i32.ge_u
      if
        return
      end
      local.get $begin
      local.get $begin
      local.get $step
      i32.add
      local.tee $end
      local.get $total
      local.get $end
      local.get $total
      i32.lt_u
      select
      local.get $thread
      i32.const $task
      i32.load
      call_indirect $taskType
      br 0
    end`,
};

/** The leader's part of a launch; the arguments are in the control block already. */
const share: FunctionText = {
  name: "share",
  params: ["job", "total", "step"],
  text: `
    i32.const $task
    local.get $job
    i32.store
    i32.const $count
    local.get $total
    i32.store
    i32.const $grain
    local.get $step
    i32.store
    i32.const $next
    i32.const 0
    i32.atomic.store
    ;; No worker changes the state of a closed job.
    i32.const $state
    i32.const $state
    i32.atomic.load
    i32.const $keep
    i32.and
    i32.const $openNext
    i32.add
    i32.atomic.store
    ;; Who is about to sleep has said so before it looks at the state for the last time.
    i32.const $sleeping
    i32.atomic.load
    if
      i32.const $state
      i32.const -1
      memory.atomic.notify
      drop
    end
    i32.const 0
    call $take
    i32.const $state
    i32.const $closed
    i32.atomic.rmw.and
    i32.const $joined
    i32.and
    if
      call $finish
    end`,
};

/** Some looks at how many workers are still at it. */
const settle: FunctionText = {
  name: "settle",
  params: [],
  results: ["i32"],
  locals: ["left", "now"],
  text: `
    i32.const $looks
    local.set $left
    loop
      i32.const $state
      i32.atomic.load
      i32.const $joined
      i32.and
      local.tee $now
      i32.eqz
      if
        i32.const 0
        return
      end
      local.get $left
      i32.const 1
      i32.sub
      local.tee $left
      br_if 0
    end
    local.get $now`,
};

/** The leader waits for the workers that joined. */
const finish: FunctionText = {
  name: "finish",
  params: [],
  locals: ["rounds"],
  text: `
    i32.const $idleRounds
    local.set $rounds
    loop
      call $settle
      i32.eqz
      if
        return
      end
      local.get $rounds
      i32.const 1
      i32.sub
      local.tee $rounds
      br_if 0
    end
    i32.const $maySleep
    i32.load
    if
      loop
        i32.const $waiting
        i32.const 1
        i32.atomic.store
        i32.const $state
        i32.atomic.load
        i32.const $joined
        i32.and
        if
          i32.const $waiting
          i32.const 1
          i64.const -1
          memory.atomic.wait32
          drop
          br 1
        end
      end
      i32.const $waiting
      i32.const 0
      i32.atomic.store
      return
    end
    loop
      call $settle
      br_if 0
    end`,
};

/** Some looks for a job other than the one seen last, or the end; gives the last state seen. */
const watch: FunctionText = {
  name: "watch",
  params: ["seen"],
  results: ["i32"],
  locals: ["left", "now"],
  text: `
    i32.const $looks
    local.set $left
    loop
      i32.const $state
      i32.atomic.load
      local.tee $now
      i32.const $ended
      i32.and
      if
        local.get $now
        i32.const $jobShift
        i32.shr_u
        local.get $seen
        i32.ne
        if
          local.get $now
          return
        end
      end
      local.get $left
      i32.const 1
      i32.sub
      local.tee $left
      br_if 0
    end
    local.get $now`,
};

/** A worker's life. */
const work: FunctionText = {
  name: "work",
  params: ["thread"],
  locals: ["seen", "now", "idle"],
  exported: true,
  text: `
    i32.const -1
    local.set $seen
    loop
      local.get $seen
      call $watch
      local.tee $now
      i32.const $stop
      i32.and
      if
        return
      end
      ;; An open job that was not seen before: join.
      local.get $now
      i32.const $open
      i32.and
      if
        local.get $now
        i32.const $jobShift
        i32.shr_u
        local.get $seen
        i32.ne
        if
          i32.const 0
          local.set $idle
          i32.const $state
          local.get $now
          local.get $now
          i32.const 1
          i32.add
          i32.atomic.rmw.cmpxchg
          local.get $now
          i32.ne
          br_if 2
          local.get $now
          i32.const $jobShift
          i32.shr_u
          local.set $seen
          local.get $thread
          call $take
          ;; The last one to leave a closed job wakes the leader.
          i32.const $state
          i32.const 1
          i32.atomic.rmw.sub
          i32.const $present
          i32.and
          i32.const 1
          i32.eq
          if
            i32.const $waiting
            i32.atomic.load
            if
              i32.const $waiting
              i32.const 0
              i32.atomic.store
              i32.const $waiting
              i32.const 1
              memory.atomic.notify
              drop
            end
          end
          br 2
        end
      end
      local.get $idle
      i32.const 1
      i32.add
      local.tee $idle
      i32.const $idleRounds
      i32.lt_u
      br_if 0
      i32.const $sleeping
      i32.const 1
      i32.atomic.rmw.add
      drop
      i32.const $state
      local.get $now
      i64.const -1
      memory.atomic.wait32
      drop
      i32.const $sleeping
      i32.const 1
      i32.atomic.rmw.sub
      drop
      i32.const 0
      local.set $idle
      br 0
    end`,
};

/** A thread's own place for a scratch argument: the arena's for the leader, a piece of the workers' memory for others. */
const scratchOf = (address: number, place: number): string => `
    local.get $thread
    if (result i32)
      i32.const $scratch
      i32.load
      local.get $thread
      i32.const 1
      i32.sub
      i32.const $scratchBytes
      i32.load
      i32.mul
      i32.add
      i32.const ${place}
      i32.load
      i32.add
    else
      i32.const ${address}
      i32.load
    end`;

/** Do the arguments of a launch fit into the control block? */
export function fitsBlock(s: Launch): boolean {
  return s.args.length + s.scratch.length <= mostArgs;
}

/** What one module has for threads: the functions of the protocol, and a task for each kernel that a launch may share. */
export class Sharing {
  readonly types = new TypeTable();
  /** Of the tasks, for the table. */
  readonly table: number[] = [];
  private readonly launchers = new Map<Kernel, { readonly index: number; readonly scratch: string }>();
  private readonly functions: WasmFunction[];
  private readonly imported: number;
  private readonly symbols: Symbols;
  private readonly index: ReadonlyMap<Kernel, number>;

  /** Adds the protocol to a module's functions. */
  constructor(functions: WasmFunction[], imported: number, index: ReadonlyMap<Kernel, number>) {
    this.functions = functions;
    this.imported = imported;
    this.index = index;
    const parts = [take, settle, finish, share, watch, work];
    const first = imported + functions.length;
    const numbers = Object.fromEntries(parts.map((f, i) => [f.name, first + i]));
    this.symbols = { ...constants, ...numbers, taskType: this.types.index(taskType) };
    functions.push(...parts.map((f) => assembleFunction(f, this.symbols)));
  }

  /** Writes the call that shares a launch: its arguments, the places of its scratch memory, count and grain. */
  emit(s: Launch, args: readonly Expr[], places: readonly Expr[], count: Expr, grain: Expr, e: FunctionEmitter): void {
    for (const x of [...args, ...places, count, grain]) e.expr(x);
    e.code.byte(0x10).u32(this.launcher(s));
  }

  private add(f: FunctionText): number {
    return this.imported + this.functions.push(assembleFunction(f, this.symbols)) - 1;
  }

  /** The function that puts a kernel's arguments into the control block and shares the kernel's task. */
  private launcher(s: Launch): number {
    const k = s.kernel;
    const scratch = s.scratch.map((x) => x.arg).join();
    const old = this.launchers.get(k);
    if (old !== undefined) {
      if (old.scratch !== scratch) throw new InternalError("wasm", `launches of kernel '${k.name}' differ in what is scratch`);
      return old.index;
    }
    const task = this.table.push(this.task(s)) - 1;
    const slots = Array.from({ length: k.params.length + s.scratch.length }, (_, i) => i);
    const stores = slots.map((i) => `i32.const ${slot(i)}\nlocal.get $a${i}\ni32.store`);
    const params = [...slots.map((i) => `a${i}`), "total", "step"];
    const text = `${stores.join("\n")}\ni32.const ${task}\nlocal.get $total\nlocal.get $step\ncall $share`;
    const index = this.add({ name: `launch.${k.name}`, params, text });
    this.launchers.set(k, { index, scratch });
    return index;
  }

  /** A kernel's task: `task(begin, end, thread)` calls the kernel with the job's arguments. */
  private task(s: Launch): number {
    const k = s.kernel;
    const kernel = this.index.get(k);
    if (kernel === undefined) throw new InternalError("wasm", `kernel '${k.name}' is not part of the program`);
    const args = k.params.map((_, i) => {
      const own = s.scratch.findIndex((x) => x.arg === i);
      return own < 0 ? `i32.const ${slot(i)}\ni32.load` : scratchOf(slot(i), slot(k.params.length + own));
    });
    const text = `${args.join("\n")}\nlocal.get $begin\nlocal.get $end\ncall ${kernel}`;
    return this.add({ name: `task.${k.name}`, params: ["begin", "end", "thread"], text });
  }
}

/** Where the job's argument i lies. */
function slot(i: number): number {
  return controlBlock.args + 4 * i;
}
