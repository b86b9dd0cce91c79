// The operator's verbs: what each does, that a dry run of it leaves nothing, and what it says to a person.
import type { Sql } from 'postgres';
import { describe, expect, onTestFinished } from 'vitest';
import { shelve } from '../support/catalogue.js';
import { cli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { atATerminal } from '../support/terminal.js';
import { test } from '../support/test.js';
import { singleArtist } from '../support/verdicts.js';

const run = (database: TestDatabase, args: string[]) => cli(args, { DATABASE_URL: database.url });
const why = ['--reason', 'two acts of one name'];

test('hold keeps an identity, release lets go of it', async ({ database }) => {
  const id = await shelve(database.sql, 'Autechre');
  const held = await run(database, ['hold', String(id), ...why]);
  expect([held.status, JSON.parse(held.stdout)]).toEqual([0, { library_id: id, identity: 'none' }]);
  const marks = () =>
    database.sql`select library_id, outcome from identity_sync.attempt`.then((rows) => [...rows]);
  expect(await marks()).toEqual([{ library_id: id, outcome: 'held' }]);

  const released = await run(database, ['release', String(id), ...why]);
  expect(JSON.parse(released.stdout)).toEqual({ library_id: id, identity: 'none', sources_removed: 0 });
  expect(await marks()).toEqual([{ library_id: id, outcome: 'released' }]);
});

test('pause and resume hold the cron and lift the hold, and say so', async ({ database }) => {
  const holds = () => database.sql`select name from identity_sync.planning_hold`.then((rows) => [...rows]);
  const paused = await run(database, ['pause', ...why, '--until', '2099-01-01T06:00+01:00']);
  expect(JSON.parse(paused.stdout)).toEqual({ name: 'paused', until: '2099-01-01T05:00:00.000Z' });
  expect(await holds()).toEqual([{ name: 'paused' }]);

  const resumed = await run(database, ['resume']);
  expect(JSON.parse(resumed.stdout)).toEqual({ lifted: ['paused'] });
  expect(await holds()).toEqual([]);
});

test('quarantine lists field, value and reason, and dismiss closes an entry', async ({ database }) => {
  const [id, other] = [
    await shelve(database.sql, 'Autechre'),
    await shelve(database.sql, 'Boards of Canada'),
  ];
  await refuse(database.sql, [id, other]);

  const listed = JSON.parse((await run(database, ['quarantine', '--ids', String(id)])).stdout);
  expect(listed).toMatchObject([
    { library_id: id, artist_name: 'Autechre', path: 'confidence', value: 7, outcome: 'invalid_verdict' },
  ]);

  const dismissed = await run(database, ['dismiss', String(listed[0].quarantine_id), ...why]);
  expect(dismissed.status).toBe(0);
  expect(JSON.parse((await run(database, ['quarantine'])).stdout)).toMatchObject([{ library_id: other }]);
});

test('stop ends a run that is open, and says where none is', async ({ database }) => {
  await shelve(database.sql, 'Autechre');
  const [{ run_id }] = await database.sql<[{ run_id: string }]>`
    select run_id from identity_sync.plan_identity_run() as run_id`;

  const stopped = await run(database, ['stop', '--run', run_id, ...why]);
  expect([stopped.status, JSON.parse(stopped.stdout)]).toEqual([
    0,
    { run_id: Number(run_id), stopped: true },
  ]);
  const again = await run(database, ['stop', '--run', run_id, ...why]);
  expect([again.status, JSON.parse(again.stdout)]).toEqual([1, { run_id: Number(run_id), stopped: false }]);
});

test('an argument that only the database can judge is wrong usage, and a library that is not there is none', async ({
  database,
}) => {
  const unknown = await run(database, ['resume', 'brakes']);
  expect([unknown.status, unknown.stderr]).toMatchObject([2, expect.stringContaining('"code":"LS001"')]);
  const absent = await run(database, ['hold', '4711', ...why]);
  expect([absent.status, absent.stderr]).toMatchObject([1, expect.stringContaining('"code":"LS002"')]);
});

test.each([['hold', '1'], ['release', '1'], ['pause'], ['resume'], ['stop', '--run', '1']])(
  'a dry run of %s leaves nothing',
  async (...args) => {
    const database = await cloneDatabase();
    onTestFinished(() => database.drop());
    const id = await shelve(database.sql, 'Autechre');
    await database.sql`insert into identity_sync.planning_hold (name, reason) values ('brake', 'all unresolved')`;
    await database.sql`select identity_sync.plan_identity_run()`;
    const state = async () => [
      await database.sql`select * from identity_sync.attempt`,
      await database.sql`select * from identity_sync.planning_hold`,
      await database.sql`select stop_cause from identity_sync.run`,
      await database.sql`select * from identity_sync.settlement`,
    ];
    const before = await state();

    const reason = args[0] === 'resume' ? [] : why;
    const words = args.map((word) => (word === '1' && args.length === 2 ? String(id) : word));
    const ended = await cli([...words, ...reason, '--dry-run'], { DATABASE_URL: database.url });

    expect([ended.status, ended.stderr]).toEqual([0, '']);
    expect(await state()).toEqual(before);
  },
);

describe('at a terminal', () => {
  test('a verb answers in a sentence, and says by which number it is undone', async ({ database }) => {
    const id = await shelve(database.sql, 'Autechre');
    const { status, screen } = await atATerminal(['hold', String(id), ...why], {
      DATABASE_URL: database.url,
    });
    expect([status, screen.replace(/^[\d:]{8} /, '')]).toEqual([
      0,
      'this is run 1 (hold) – By this number it is looked at and undone.\n' +
        `library ${id} has no identity and is held: it is not asked until it is released\n`,
    ]);
  });

  test.each([60, 200])('the quarantine fits %d columns, and moves no cursor', async (columns) => {
    const database = await cloneDatabase();
    onTestFinished(() => database.drop());
    const id = await shelve(database.sql, { artist: 'Aute\u001b[2Jchre', title: 'x'.repeat(120) });
    await refuse(database.sql, [id]);

    const { status, screen } = await atATerminal(['quarantine'], { DATABASE_URL: database.url }, columns);

    expect(status).toBe(0);
    expect(screen).toMatch(/^1 in quarantine: 1 invalid_verdict\n/);
    expect(screen).toContain('confidence');
    expect(screen).not.toContain('\u001b');
    expect(screen.split('\n').filter((line) => line.length > columns)).toEqual([]);
  });
});

test.each([
  [['hold', 'five', ...why], 'ID is "five"; allowed: a library id, as in 5'],
  [['hold', '99999999999', ...why], 'ID is "99999999999"; allowed: a library id, as in 5'],
  [['hold', '5'], "required option '--reason <text>' not specified"],
  [['pause', ...why, '--until', '2099-01-01'], '--until is "2099-01-01"; allowed: a time with its zone'],
  [['quarantine', '--ids', '1,two'], '--ids is "1,two"; allowed: library ids, as in 1,2,3'],
])('%j is wrong usage', async (args, words) => {
  const ended = await cli(args, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' });
  expect([ended.status, ended.stderr]).toEqual([2, expect.stringContaining(words)]);
});

/** Has these libraries refused, for a confidence that is none. */
const refuse = (sql: Sql, ids: number[]) => sql`
  select identity_sync.apply_identity_verdicts(
    ${JSON.stringify(ids.map((id) => singleArtist(id, { confidence: 7 })))}::text::jsonb, ${ids}, 'consumer:lml-bulk')`;
