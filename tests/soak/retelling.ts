// The model lives through what was settled and done, in the order of the commits. Each settlement's report is held
// against the model's. What the backend committed while a settlement was under way may come before or after it: the
// order that gives the same report is the one that was.
import { isDeepStrictEqual } from 'node:util';
import { resultsOf } from '../model/answers.js';
import { read } from '../model/json.js';
import type { Fields } from '../model/judge.js';
import { add, type Identity, Model, SERVICE } from '../model/model.js';
import { type Report, reported } from '../support/report.js';
import { type Acted, librariesOf, type Settled } from './ledger.js';
import { type Shelved, shelveInModel } from './shelf.js';

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
  readonly counts = { told: 0, reordered: 0 };
  private readonly settlements = new Map<number, number[]>();
  private readonly libraries = new Map<number, number[]>();
  private readonly previews = new Map<number, Settled[]>();

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

    const waiting = new Map<Event, Event[]>();
    for (const [index, event] of events.entries()) {
      const uncertain = waiting.get(event) ?? [];
      const next = event.run === null ? this.underWay(event, events, index) : undefined;
      if (next) waiting.set(next, [...(waiting.get(next) ?? []), event]);
      else this.take(event, uncertain);
    }
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
    const { began, committed, run, result } = act;
    const ids = this.librariesOfAct(act);
    const name = `act ${act.act} (${act.kind} of ${act.args.of ?? ids.slice(0, 5)}, as run ${run})`;
    return {
      ...{ began, committed, run, ids, name },
      tell: (model) => this.actOn(model, act),
      expected: result,
    };
  }

  /** Does on the model what a person has done. */
  private actOn(model: Model, { kind, ids, args, at, run, result }: Acted): unknown {
    const id = ids[0]!;
    switch (kind) {
      case 'repair':
        return model.apply({
          ...{ results: args.results as unknown[], requested: ids, asked: null, version: undefined },
          ...{ origin: 'repair:soak_operator', at: at!, strict: false },
        });
      case 'release':
        model.now = at! - 1;
        return model.release(id);
      case 'hold':
        model.now = at! - 1;
        return model.hold(id, 'repair:soak_operator');
      case 'dismiss': {
        const entry = model.quarantine.find(({ library }) => library === id);
        if (entry) model.dismiss(entry);
        return entry ? null : 'no such entry is open';
      }
      case 'replay': {
        const replayed = model.replay(ids);
        for (const { id: released, at: when } of args.released as { id: number; at: number }[]) {
          const mark = model.marks.get(released);
          if (mark?.outcome === 'released') mark.at = when;
        }
        return { ...replayed, never_replayed: (result as Fields).never_replayed };
      }
      case 'undo': {
        const undone = model.undo(
          this.settlements.get(args.of as number) ?? [],
          args.only as number[] | null,
        );
        return { ...undone, run_id: run, of_run_id: args.of };
      }
      case 'preview':
        return add(
          (this.previews.get(args.of as number) ?? [])
            .sort((one, other) => one.batch - other.batch)
            .filter(({ state }) => state !== 'failed')
            .map((row) => settle(model, row)),
        );
      case 'rename': {
        const library = model.libraries.get(id)!;
        model.libraries.set(id, {
          ...library,
          artist: args.artist as string | null,
          title: args.title as string,
        });
        return null;
      }
      case 'delete':
        model.deleteLibrary(id);
        return null;
      case 'add':
        shelveInModel(model, args.shelved as Shelved);
        return null;
      case 'other': {
        const known = model.identities.get(id);
        if (known) model.identities.set(id, { ...known, ...(args.columns as Partial<Identity>) });
        model.touch(id);
        return null;
      }
      default:
        throw new Error(`the model knows no ${kind}`);
    }
  }
}

/** What a call of the writer for a batch does to the model. */
function settle(model: Model, { state, ids, post, at, isStrict }: Settled): Report {
  switch (state) {
    case 'failed': {
      const there = ids.filter((id) => model.libraries.has(id)).length;
      return reported({ rows_skipped: { lml_error: there, library_gone: ids.length - there } });
    }
    case 'poisoned':
      return model.poison(ids[0]!, post?.questions.get(ids[0]!) ?? null, at, isStrict);
    default: {
      const answer = state === 'applied' ? post?.answer : undefined;
      return model.apply({
        ...{ results: answer ? (resultsOf(answer) ?? []) : [], requested: ids, origin: SERVICE, at },
        ...{ strict: isStrict, asked: post ? post.questions : new Map() },
        version: answer?.shape === 'whole' ? read(answer.version) : undefined,
      });
    }
  }
}

function copyOf(model: Model): Model {
  // What never changes once it is there is not copied.
  const { settlements, quarantine, versions, ...rest } = model;
  const shared = { settlements: [...settlements], quarantine: [...quarantine], versions: new Map(versions) };
  const copy = { ...structuredClone(rest), ...shared };
  return Object.assign(Object.create(Model.prototype), copy);
}

const plain = (value: unknown) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

/** Where two values differ, in words. */
export function differences(actual: unknown, expected: unknown, path = ''): string {
  const [one, other] = [plain(actual), plain(expected)];
  if (isDeepStrictEqual(one, other)) return '';
  const areBoth = [one, other].every((value) => typeof value === 'object' && value !== null);
  if (!areBoth) return `${path} the model says ${JSON.stringify(one)}, the database ${JSON.stringify(other)}`;
  const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  return keys
    .map((key) => differences(one[key], other[key], path ? `${path}.${key}` : key))
    .filter(Boolean)
    .slice(0, 5)
    .join('; ');
}
