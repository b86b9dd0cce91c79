// A run is looked at, applied in part and taken back from the command line.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sql } from 'postgres';
import { expect, onTestFinished } from 'vitest';
import { answerOf, claim, plan, settle, shelve, shelveAll } from '../support/catalogue.js';
import { cli, logOf } from '../support/cli.js';
import type { TestDatabase } from '../support/database.js';
import { identified } from '../support/faults.js';
import { atATerminal } from '../support/terminal.js';
import { test } from '../support/test.js';
import { lastRun } from '../support/undo.js';
import { verdict } from '../support/verdicts.js';

const run = (database: TestDatabase, args: string[]) => cli(args, { DATABASE_URL: database.url });

/** A dry run over these records, each of which LML resolves. */
async function dryRun(sql: Sql, ids: number[]): Promise<string> {
  const runId = await plan(sql, { scope: 'ids', ids, dry_run: true });
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf(ids.map((id) => verdict.resolved(id, 1489))) });
  return runId;
}

test('apply --run N --ids writes a part of a preview, diff shows it, undo takes it back', async ({
  database,
}) => {
  const [one, two] = await shelveAll(
    database.sql,
    { artist: 'Stereolab', title: 'Dots, and "Loops"' },
    'Pram',
  );
  const previewed = await dryRun(database.sql, [one, two]);
  const foretold = JSON.parse((await run(database, ['diff', '--run', previewed])).stdout);

  const applied = await run(database, ['apply', '--run', previewed, '--ids', String(one)]);
  expect(JSON.parse(applied.stdout)).toMatchObject({ scanned: 1, rows_resolved: 1 });
  const runId = await lastRun(database.sql);
  expect(logOf(applied).at(-1)).toMatchObject({
    msg: `this is run ${runId} (preview)`,
    hint: expect.stringContaining('undone'),
  });

  const diffed = await run(database, ['diff', '--run', runId]);
  const changes = JSON.parse(diffed.stdout);
  expect(changes).toEqual(foretold.filter(({ library_id }: { library_id: number }) => library_id === one));
  expect(changes[0]).toMatchObject({ column_name: 'discogs_artist_id', old_value: null, new_value: '1489' });
  const csv = (await run(database, ['diff', '--run', runId, '--csv'])).stdout.split('\r\n');
  expect(csv.slice(0, 2)).toEqual([
    'library_id,artist_name,album_title,row,column,old,new',
    `${one},Stereolab,"Dots, and ""Loops""",identity,discogs_artist_id,,1489`,
  ]);
  expect(csv).toHaveLength(changes.length + 2);

  const rehearsed = await run(database, ['undo', '--run', runId, '--dry-run']);
  expect(JSON.parse(rehearsed.stdout)).toMatchObject({ identity: { removed: 1 } });
  expect(await identified(database.sql)).toEqual([one]);

  const undone = await run(database, ['undo', '--run', runId, '--ids', `${one},${two}`]);
  expect([undone.status, JSON.parse(undone.stdout)]).toMatchObject([
    0,
    { of_run_id: Number(runId), identity: { removed: 1 }, newer: 0, held: 0 },
  ]);
  expect(await identified(database.sql)).toEqual([]);
});

test('a run that changed nothing is an empty list, and an unknown one an error', async ({ database }) => {
  const id = await shelve(database.sql, 'Stereolab');
  await run(database, ['hold', String(id), '--reason', 'two acts of one name']);
  expect((await run(database, ['diff', '--run', await lastRun(database.sql)])).stdout).toBe('[]\n');
  for (const command of ['diff', 'undo']) {
    const unknown = await run(database, [command, '--run', '4711']);
    expect([unknown.status, unknown.stdout]).toEqual([1, expect.not.stringMatching(/\w/)]);
    expect(unknown.stderr).toContain('there is no run 4711');
  }
});

test.each([
  [['diff'], "required option '--run <id>'"],
  [['diff', '--run', '1', '--json', '--csv'], '--json and --csv exclude each other'],
  [['undo', '--run', 'x'], '--run is "x"; allowed: a number'],
  [['undo', '--run', '1', '--ids', 'x'], '--ids is "x"; allowed: library ids'],
  [['apply', '-', '--ids', '1'], '--ids needs --run N'],
])('%s is wrong usage', async (args, words) => {
  const { status, stderr } = await cli(args, { DATABASE_URL: 'postgres://127.0.0.1:1/none' });
  expect([status, stderr]).toEqual([2, expect.stringContaining(words)]);
});

test.for([60, 80, 200])(
  'at a terminal of %i columns both say in words what to do next',
  async (columns, { database }) => {
    const [one, two] = await shelveAll(
      database.sql,
      { artist: 'Hank Williams', title: 'The Complete Recordings, Volume Four of Many\u001b[2J' },
      '坂本龍一',
    );
    const previewed = await dryRun(database.sql, [one, two]);
    const at = (args: string[]) => atATerminal(args, { DATABASE_URL: database.url }, columns);

    const foretold = await at(['diff', '--run', previewed]);
    expect(foretold.screen).toContain(`dry run ${previewed} (ids, completed) would change 2 libraries`);
    expect(foretold.screen).toContain(`identity-sync apply --run ${previewed}`);

    const applied = await at(['apply', '--run', previewed]);
    expect(applied.screen).toContain('2 rows: 2 resolved (2 new)');
    const runId = await lastRun(database.sql);
    const { screen } = await at(['diff', '--run', runId]);
    expect(screen).toContain('2 gained an id');
    expect(screen).toContain(`identity-sync undo --run ${runId}`);
    expect(screen).not.toContain('\u001b[2J');

    await database.sql`update wxyc_schema.library_identity set spotify_id = 'x' where library_id = ${two}`;
    const rehearsed = await at(['undo', '--run', runId, '--dry-run']);
    expect(rehearsed.screen).toContain(`dry run: run ${runId} would be undone`);
    const undone = await at(['undo', '--run', runId]);
    expect(undone.screen).toContain(`run ${runId} is undone by run`);
    expect(undone.screen).toContain('left alone: 1 changed since');
    for (const line of `${screen}${foretold.screen}`.split('\n'))
      expect(line.length).toBeLessThanOrEqual(columns);
  },
);

test('at a terminal each dry run says row by row what it would do, and writes nothing', async ({
  database,
  lml,
}) => {
  const { sql } = database;
  const [id] = await shelveAll(sql, 'A Tribe Called Quest');
  const at = (args: string[]) =>
    atATerminal([...args, '--dry-run'], { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url });
  const foretold = /it would change 1 library\n1 gained an id\n\n *id .*\n *\d+ .*discogs_artist_id +– +\d+/;
  const before = await readAll(sql);

  const asked = await at(['run', '--ids', String(id)]);
  expect([asked.status, asked.screen]).toEqual([0, expect.stringMatching(foretold)]);
  const previewed = await lastRun(sql);
  expect((await at(['apply', '--run', previewed])).screen).toMatch(foretold);

  const folder = await mkdtemp(join(tmpdir(), 'verdicts-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'fix.json');
  await writeFile(file, answerOf([verdict.resolved(id, 1489)]));
  expect((await at(['apply', file])).screen).toMatch(foretold);
  expect(await readAll(sql)).toEqual(before);

  await run(database, ['apply', file]);
  const { screen } = await at(['undo', '--run', await lastRun(sql)]);
  expect(screen).toMatch(
    /it would change 1 library\n1 lost one\n\n *id .*\n *\d+ .*discogs_artist_id +1489 +–/,
  );
  expect(await identified(sql)).toEqual([id]);
  // What was there is said again, and would stay as it is.
  expect((await at(['apply', file])).screen).toContain('it would change nothing');
});

test('of many changes a dry run shows the first, and names the command that shows all', async ({
  database,
  lml,
}) => {
  const ids = await shelveAll(database.sql, ...Array.from({ length: 9 }, () => 'A Tribe Called Quest'));
  const { screen } = await atATerminal(['run', '--dry-run', '--ids', ids.join(',')], {
    ...{ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url },
  });
  const number = await lastRun(database.sql);
  expect(screen).toMatch(new RegExp(`… and \\d+ more: identity-sync diff --run ${number}\n`));
  expect(screen.split('\n').length).toBeLessThan(70);
});

/** All that the station reads of identities. */
async function readAll(sql: Sql): Promise<unknown> {
  return {
    identities: await identified(sql),
    quarantine: [...(await sql`select * from identity_sync.quarantine`)],
  };
}
