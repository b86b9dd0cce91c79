// What a settlement, or an act of a person, does to the model.
import { resultsOf } from '../model/answers.js';
import { brake } from '../model/brake.js';
import { read } from '../model/json.js';
import type { Fields } from '../model/judge.js';
import { add, type Identity, type Model, SERVICE } from '../model/model.js';
import { type Report, reported } from '../support/report.js';
import type { Acted, Settled } from './ledger.js';
import { type Shelved, shelveInModel } from './shelf.js';

/** What was told before, by run. */
export interface Past {
  settlements: Map<number, number[]>;
  previews: Map<number, Settled[]>;
}

/** The libraries of which a pruning took something away. */
export interface Pruned {
  marks: number[];
  questions: number[];
  entries: number[];
}

/** Does on the model what a person has done. */
export function actOn(model: Model, { kind, ids, args, at, run, result }: Acted, past: Past): unknown {
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
      const undone = model.undo(past.settlements.get(args.of as number) ?? [], args.only as number[] | null);
      return { ...undone, run_id: run, of_run_id: args.of };
    }
    case 'preview': {
      const only = (args.only ?? null) as number[] | null;
      return add(
        (past.previews.get(args.of as number) ?? [])
          .sort((one, other) => one.batch - other.batch)
          .filter(({ state }) => state !== 'failed')
          .map((row) => ({ ...row, ids: row.ids.filter((each) => only?.includes(each) ?? true) }))
          .filter((row) => row.ids.length > 0)
          .map((row) => write(model, row, only)),
      );
    }
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
    case 'merge':
      model.merge(id, ids[1]!, args.moved as { isIdentity: boolean; sources: string[] });
      return null;
    case 'prune':
      prune(model, args as unknown as Pruned);
      return null;
    case 'add':
    case 'restore':
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

function prune(model: Model, { marks, questions, entries }: Pruned): void {
  for (const id of marks) model.marks.delete(id);
  for (const id of questions) model.questions.delete(id);
  model.close(({ library }) => library !== null && entries.includes(library));
}

/** What a call of the writer for a batch does to the model. */
export function settle(model: Model, row: Settled): Report {
  const report = write(model, row);
  const { run, state, scope, isDry, accept } = row;
  if (state === 'applied' && !isDry && ['due', 'refresh'].includes(scope)) brake(model, run, accept);
  return report;
}

function write(model: Model, row: Settled, only: number[] | null = null): Report {
  const { state, ids, post, at, isStrict } = row;
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
        ...(only && { chosen: only }),
      });
    }
  }
}
