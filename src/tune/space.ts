import type { Capabilities } from "../base/machine.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { candidates, chooseSchedule, packedAxes } from "../schedule/candidates.ts";
import { type CostCache, constantsFrom, defaultChooser, kernelCost, packings, rewriteKernel, scheduleCost } from "../schedule/choose.ts";
import { bodiesOf, isMixed, kernelViolations } from "../schedule/legal.ts";
import { collapseAxes } from "../schedule/linearize.ts";
import { type StageFacts, stageCost, stageFacts } from "../schedule/model.ts";
import type { Random } from "../schedule/random.ts";
import { type Algorithm, type KernelSchedule, type Pack, type StageSchedule, algorithms } from "../schedule/schedule.ts";
import { type Kernel, type Stage, type Tensor, allStages, writesOf } from "../tensor/ir.ts";
import { changeStage } from "./mutate.ts";

export interface SpaceOptions {
  readonly isConstant: (t: Tensor) => boolean;
  /** No algorithm that changes the arithmetic. */
  readonly exact: boolean;
}

/** What algorithm and packing make of a kernel, with what does not depend on the rest of the schedule. */
interface Form {
  readonly algorithm: Algorithm;
  readonly packs: readonly Pack[];
  readonly kernel: Kernel;
  readonly facts: readonly StageFacts[];
  /** Modelled cost of what runs before it on every run of the model. */
  readonly costBefore: number;
  /** For each stage the enumerated schedules, cheapest first; made when asked for. */
  readonly enumerated: (readonly StageSchedule[] | undefined)[];
}

/** Stages with more unrolled bodies than this are not worth trying. */
const largestTile = 512;
/** Of the enumeration of a stage only this many are kept. */
const mostEnumerated = 1500;
/** Changes that come to nothing (illegal, or the same again) before another draw is made instead. */
const attempts = 12;

/**
 * All schedules of one kernel: draws new ones, changes given ones, and prices them with the cost model of the machine. What
 * it gives is legal.
 */
export class ScheduleSpace {
  private readonly sc: Scalars;
  private readonly machine: Capabilities;
  private readonly k: Kernel;
  private readonly options: SpaceOptions;
  private readonly forms = new Map<string, Form | null>();
  private readonly costs: CostCache = new Map();
  private readonly usable: readonly Algorithm[];

  constructor(sc: Scalars, machine: Capabilities, k: Kernel, options: SpaceOptions) {
    this.sc = sc;
    this.machine = machine;
    this.k = k;
    this.options = options;
    this.usable = algorithms.filter((a) => a === "direct" || (!options.exact && this.form(a, []) !== null));
  }

  /** What the compiler chooses untuned. */
  default(): KernelSchedule {
    const { sc, machine, k, options } = this;
    return defaultChooser(machine, options.isConstant, { exact: options.exact })(sc, k).schedule;
  }

  /** Modelled cost of the whole: the kernel and what it adds to every run. Infinite where the schedule does not fit. */
  cost(s: KernelSchedule): number {
    const form = this.form(s.algorithm, s.packs);
    return form === null ? Number.POSITIVE_INFINITY : kernelCost(this.sc, this.machine, form.kernel, s) + form.costBefore;
  }

  /** The kernel as algorithm and packing leave it; null where they do not apply. */
  kernelOf(s: KernelSchedule): Kernel | null {
    return this.form(s.algorithm, s.packs)?.kernel ?? null;
  }

  isLegal(s: KernelSchedule): boolean {
    const form = this.form(s.algorithm, s.packs);
    return form !== null && kernelViolations(form.kernel, s).length === 0;
  }

  /** A schedule from the enumeration: cheap ones more often than others. */
  draw(random: Random): KernelSchedule {
    const form = this.randomForm(random);
    const stages = allStages(form.kernel).map((s, i): [string, StageSchedule] => [s.name, this.drawStage(random, form, i)]);
    return this.legalOr({ ...headOf(form), stages: Object.fromEntries(stages), joined: random() < 0.3, specialize: random() < 0.3 }, form);
  }

  /** The schedule with one to three of its fields changed. */
  mutate(random: Random, s: KernelSchedule): KernelSchedule {
    let current = s;
    const changes = 1 + Math.floor(random() ** 2 * 3);
    for (let n = 0; n < changes; n++) {
      for (let i = 0; i < attempts; i++) {
        const next = this.change(random, current);
        if (next === null || !this.isWorthTrying(next)) continue;
        current = next;
        break;
      }
    }
    return current === s ? this.draw(random) : current;
  }

  private change(random: Random, s: KernelSchedule): KernelSchedule | null {
    const dice = random();
    if (dice < 0.08) return this.rewrite(random, s);
    if (dice < 0.13) return { ...s, specialize: !s.specialize };
    if (dice < 0.16) return { ...s, joined: !s.joined };
    const form = this.form(s.algorithm, s.packs);
    if (form === null) return null;
    const stages = allStages(form.kernel);
    const at = Math.floor(random() * stages.length);
    const stage = stages[at] as Stage;
    const own = s.stages[stage.name];
    if (own === undefined) return null;
    const whole = dice < 0.26 || isMixed(stage);
    const changed = whole ? this.drawStage(random, form, at) : changeStage(random, stage, own, this.lanes(form, at));
    return changed === null ? null : { ...s, stages: { ...s.stages, [stage.name]: changed } };
  }

  /** Another algorithm or other packing; the stages, which are then others, get what the model likes best. */
  private rewrite(random: Random, s: KernelSchedule): KernelSchedule | null {
    const form = this.randomForm(random);
    if (form.algorithm === s.algorithm && JSON.stringify(form.packs) === JSON.stringify(s.packs)) return null;
    return this.legalOr({ ...headOf(form), stages: this.bestStages(form, s.specialize), joined: s.joined, specialize: s.specialize }, form);
  }

  private isWorthTrying(s: KernelSchedule): boolean {
    const form = this.form(s.algorithm, s.packs);
    if (form === null || kernelViolations(form.kernel, s).length > 0) return false;
    return allStages(form.kernel).every((x) => bodiesOf(x, s.stages[x.name] as StageSchedule) <= largestTile);
  }
  private legalOr(s: KernelSchedule, form: Form): KernelSchedule {
    return this.isWorthTrying(s) ? s : { ...headOf(form), stages: this.bestStages(form, s.specialize), joined: s.joined, specialize: s.specialize };
  }
  private lanes(form: Form, stage: number): number {
    return form.facts[stage]?.vectorizable === true ? this.machine.lanes.f32 : 1;
  }

  private bestStages(form: Form, specialize: boolean): Record<string, StageSchedule> {
    return Object.fromEntries(
      form.facts.map(({ stage }, i) => {
        const own = packedAxes(form.packs.filter((p) => form.kernel.stages[p.stage] === stage));
        const chosen = chooseSchedule(this.machine, form.facts[i] as StageFacts, own, "full", specialize);
        return [stage.name, chosen.schedule];
      }),
    );
  }

  private drawStage(random: Random, form: Form, at: number): StageSchedule {
    const facts = form.facts[at] as StageFacts;
    let list = form.enumerated[at];
    if (list === undefined) {
      const priced = [...candidates(this.machine, facts)].map((s) => ({ s, cost: stageCost(this.machine, facts, s, false) }));
      list = priced
        .sort((a, b) => a.cost - b.cost)
        .slice(0, mostEnumerated)
        .map((x) => x.s);
      form.enumerated[at] = list;
    }
    return list[Math.floor(list.length * random() ** 4)] as StageSchedule;
  }

  private randomForm(random: Random): Form {
    const algorithm = this.usable[Math.floor(random() * this.usable.length)] as Algorithm;
    const plain = this.form(algorithm, []) as Form;
    let form = plain;
    for (const stage of plain.kernel.stages.keys()) {
      const options = [...packings(this.sc, this.machine, form.kernel, stage)];
      if (options.length === 0 || random() < 0.35) continue;
      form = this.form(algorithm, [...form.packs, options[Math.floor(random() * options.length)] as Pack]) ?? form;
    }
    return form;
  }

  private form(algorithm: Algorithm, packs: readonly Pack[]): Form | null {
    const key = `${algorithm} ${JSON.stringify(packs)}`;
    const old = this.forms.get(key);
    if (old !== undefined) return old;
    const made = this.makeForm(algorithm, packs);
    this.forms.set(key, made);
    return made;
  }
  private makeForm(algorithm: Algorithm, packs: readonly Pack[]): Form | null {
    const { sc, machine, k } = this;
    const rewritten = rewriteKernel(sc, machine, k, { algorithm, packs });
    if (rewritten === null) return null;
    const { kernel, before } = rewritten;
    const { has, note } = constantsFrom(this.options.isConstant);
    let costBefore = 0;
    for (const b of before) {
      note(b);
      if (!writesOf(b).every(has)) costBefore += scheduleCost(sc, machine, collapseAxes(sc, b), has, this.options.exact, this.costs);
    }
    const facts = allStages(kernel).map((s) => stageFacts(sc, s));
    return { algorithm, packs, kernel, facts, costBefore, enumerated: [] };
  }
}

function headOf(f: Form): Pick<KernelSchedule, "algorithm" | "packs"> {
  return { algorithm: f.algorithm, packs: f.packs };
}
