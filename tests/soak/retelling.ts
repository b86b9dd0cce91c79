// The model lives through what was settled and done, in the order of the commits. Each settlement's report is held
// against the model's. What the backend committed while a settlement was under way may come before or after it: the
// order that gives the same report is the one that was.
import { resultsOf } from '../model/answers.js';
import type { Model } from '../model/model.js';
import { actOn, settle } from './acts.js';
import { copyOf, differences } from './comparing.js';
import { type Acted, librariesOf, type Settled } from './ledger.js';
import { Rehearsals } from './rehearsals.js';

interface Event {
  name: string;
  began: number;
  committed: number;
  ids: number[];
  /** The run whose settlement this is; null: of no run, so that it may be ordered otherwise. */
  run: number | null;
  tell(model: Model): unknown;
  expected: unknown;
}

/** What the model makes of events in one order. */
interface Told {
  model: Model;
  settlements: [run: number, ids: number[]][];
  complaints: string[];
}

/** Longer than applying a kept answer waits. */
const KEPT_MS = 3000;

const MOST_UNCERTAIN = 8;

export class Retelling {
  readonly complaints: string[] = [];
  readonly counts = { told: 0, reordered: 0, rehearsed: 0 };
  readonly settlements = new Map<number, number[]>();
  private readonly libraries = new Map<number, number[]>();
  readonly previews = new Map<number, Settled[]>();

  constructor(public model: Model) {}

  tell(settled: Settled[], acts: Acted[]): void {
    for (const row of settled) {
      if (row.isDry) this.previews.set(row.run, [...(this.previews.get(row.run) ?? []), row]);
      if (row.state === 'applied' && (!row.post || !resultsOf(row.post.answer)))
        this.complaints.push(`settlement ${row.settlement} applied what LML never said`);
      this.libraries.set(row.run, [...(this.libraries.get(row.run) ?? []), ...librariesOf(row)]);
    }
    for (const act of acts) if (act.run !== null) this.libraries.set(act.run, this.librariesOfAct(act));
    const events = [
      ...settled.filter(({ isDry }) => !isDry).map((row) => this.eventOf(row)),
      ...acts.map((act) => this.eventOfAct(act)),
    ].sort((one, other) => one.committed - other.committed);

    const rehearsals = new Rehearsals(settled.filter(({ isDry }) => isDry));
    const waiting = new Map<Event, Event[]>();
    for (const [index, event] of events.entries()) {
      rehearsals.tell(this.model, event.committed, [...waiting.values()].flat());
      const uncertain = waiting.get(event) ?? [];
      waiting.delete(event);
      const next = event.run === null ? this.underWay(event, events, index) : undefined;
      if (next) waiting.set(next, [...(waiting.get(next) ?? []), event]);
      else this.take(event, uncertain);
    }
    rehearsals.tell(this.model, Number.POSITIVE_INFINITY, []);
    this.complaints.push(...rehearsals.complaints);
    this.counts.rehearsed += rehearsals.count;
  }

  /** The settlement of the same library that was under way when this was committed, and may not have seen it. */
  private underWay(event: Event, events: Event[], index: number): Event | undefined {
    for (let later = index + 1; later < events.length; later++) {
      const other = events[later]!;
      if (other.committed - event.committed > 60_000) return undefined;
      if (other.run === null || !event.ids.some((id) => other.ids.includes(id))) continue;
      return other.began <= event.committed + 1 ? other : undefined;
    }
    return undefined;
  }

  private take(event: Event, uncertain: Event[]): void {
    this.counts.told += 1 + uncertain.length;
    let first: Told | undefined;
    for (let choice = 0; choice < 2 ** Math.min(uncertain.length, MOST_UNCERTAIN); choice++) {
      const model = uncertain.length > 0 ? copyOf(this.model) : this.model;
      const isLate = (_: Event, index: number) => Math.floor(choice / 2 ** index) % 2 === 1;
      const early = uncertain.filter((other, index) => !isLate(other, index));
      const told = this.tellAll([...early, event, ...uncertain.filter(isLate)], model);
      first ??= told;
      if (told.complaints.length > 0) continue;
      if (choice > 0) this.counts.reordered++;
      first = told;
      break;
    }
    this.adopt(first!);
  }

  private adopt({ model, settlements, complaints }: Told): void {
    this.model = model;
    this.complaints.push(...complaints);
    for (const [run, ids] of settlements)
      this.settlements.set(run, [...(this.settlements.get(run) ?? []), ...ids]);
  }

  /** Tells the model of events, and says where their reports differ. What is of no run has no report. */
  private tellAll(events: Event[], model: Model): Told {
    const told: Told = { model, settlements: [], complaints: [] };
    for (const { name, committed, run, tell, expected } of events) {
      model.now = committed;
      const before = model.settlements.length;
      let result: unknown;
      try {
        result = tell(model);
      } catch (error) {
        result = `the model refuses: ${error}`;
      }
      if (run === null) continue;
      told.settlements.push([run, model.settlements.slice(before).map(({ id }) => id)]);
      const found = differences(result, expected);
      if (found) told.complaints.push(`${name}: ${found}`);
    }
    return told;
  }

  private eventOf(row: Settled): Event {
    const { settlement, run, committed } = row;
    const isKept = row.at < committed - 1000;
    return {
      ...{ committed, run, name: `settlement ${settlement} (${row.state})`, ids: librariesOf(row) },
      began: isKept ? committed - KEPT_MS : row.at,
      tell: (model) => settle(model, row),
      expected: row.report,
    };
  }

  private librariesOfAct({ ids, args }: Acted): number[] {
    const of = this.libraries.get(args.of as number) ?? [];
    return [...new Set([...ids, ...of])];
  }

  private eventOfAct(act: Acted): Event {
    const { began, committed, kind, run, result } = act;
    const ids = this.librariesOfAct(act);
    const name = `act ${act.act} (${act.kind} of ${act.args.of ?? ids.slice(0, 5)}, as run ${run})`;
    return {
      ...{ began, committed, run, ids, name },
      tell: (model) => {
        const told = actOn(model, act, this);
        return result === null && kind === 'undo' ? null : told;
      },
      expected: result,
    };
  }
}
