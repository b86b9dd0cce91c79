// Every step of two sessions about one library, in either order: the first stays open while the second begins. The
// table says who waits for whom; none deadlocks, loses a version, or puts an older verdict over a newer one, and a third
// session, about another library, waits for neither. INTERLEAVINGS=all takes each pair to a commit and to a rollback.
import type postgres from 'postgres';
import { beforeAll, expect, test } from 'vitest';
import { shelveRows } from '../support/catalogue.js';
import { connect, useDatabase } from '../support/database.js';
import { service, singleArtist } from '../support/writer.js';
import { clear, end, expectNothingLost, open, prepare, type Session, STEPS, take, watch } from './steps.js';

const WRITERS = [
  ...[
    'apply an older answer',
    'apply a newer answer',
    'apply a refused answer',
    'repair',
    'replay',
    'release',
    'hold',
  ],
  ...['undo', 'finish', 'dismiss'],
];
const REMOVALS = ['the backend deletes', 'the backend merges'];
// The others write no row of the station.
const WRITES_ROWS = WRITERS.filter((name) => name !== 'apply a refused answer' && name !== 'dismiss');

/** By the step that is open, the steps that wait for it. */
const WAITING: Record<string, string[]> = {
  'apply an older answer': [...WRITERS, ...REMOVALS],
  'apply a newer answer': [...WRITERS, ...REMOVALS],
  'apply a refused answer': WRITERS,
  repair: [...WRITERS, ...REMOVALS],
  replay: [...WRITERS, ...REMOVALS],
  release: [...WRITERS, ...REMOVALS],
  hold: [...WRITERS, ...REMOVALS],
  undo: [...WRITERS, ...REMOVALS],
  finish: [...WRITERS, ...REMOVALS],
  dismiss: WRITERS,
  // One plans, rescues or prunes at a time; none of them waits for a writer, nor a writer for them.
  plan: ['plan'],
  rescue: ['rescue', 'finish'],
  prune: [],
  'the backend renames': ['the backend renames', ...REMOVALS],
  'the backend deletes': [...WRITES_ROWS, 'the backend renames', ...REMOVALS],
  'the backend merges': [...WRITES_ROWS, 'the backend renames', ...REMOVALS],
  'the backend restores': ['the backend restores'],
};

/** What a step may end with besides being done: there is nothing left of what it is about. */
const FAILURES: Record<string, string[]> = {
  dismiss: ['LS002'],
  release: ['LS002'],
  hold: ['LS002'],
  'the backend restores': ['23505'],
};

const database = useDatabase();
let sessions: { first: Session; second: Session; bystander: postgres.Sql };

beforeAll(async () => {
  await watch(database.sql);
  const [one, other, bystander] = [connect(database.url), connect(database.url), connect(database.url)];
  sessions = { first: await open(one), second: await open(other), bystander };
  await shelveRows(database.sql, [{ id: 1 }]);
});

const names = Object.keys(STEPS);
const ends =
  process.env.INTERLEAVINGS === 'all'
    ? () => ['commit', 'rollback'] as const
    : (one: string, other: string) =>
        (names.indexOf(one) + names.indexOf(other)) % 3 === 0
          ? (['rollback'] as const)
          : (['commit'] as const);

test.each(names)('open in one session: %s; who waits for it, and what is left', async (one) => {
  const { first, second, bystander } = sessions;
  const waited: string[] = [];
  for (const other of names) {
    for (const how of ends(one, other)) {
      const pair = `${one}, ${other}, ${how}`;
      const place = await prepare(database, [one, other]);
      try {
        expect(await take(database.sql, first, one, place), `${pair}: the first`).toBe('passes');
        if ((await take(database.sql, second, other, place)) === 'waits') waited.push(other);
        await bystander`set statement_timeout = '60s'`;
        await service(bystander, [singleArtist(1)]);
      } finally {
        await end(first, place, how);
        await end(second, place, 'commit');
      }
      for (const { name, outcome } of [first, second])
        expect(['done', ...(FAILURES[name] ?? [])], `${pair}: ${name}`).toContain(outcome);
      await expectNothingLost(database.sql, place);
      await clear(database);
    }
  }
  expect([...new Set(waited)].sort()).toEqual(WAITING[one]!.filter((name) => names.includes(name)).sort());
});
