import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  call,
  candidates,
  credit,
  plan,
  shelve,
  shelveAll,
  shelveRealRecords,
} from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
});
afterEach(() => database.drop());

describe('the batches of a run', () => {
  test('are of one cohort each, of the size that the cohort has, and hold each candidate once', async () => {
    const ids = await shelveRealRecords(database.sql, (_, index) => index >= 2700 && index < 3100);
    const cohorts = await call<{ library_id: number; cohort: string }>(database.sql, 'identity_candidates');
    const sizes = { va: 17, non_va: 60 };

    const runId = await plan(database.sql, { batch_size: sizes.non_va, va_batch_size: sizes.va });

    const batches = await batchesOf(runId);
    for (const cohort of ['va', 'non_va'] as const) {
      const ofCohort = batches.filter((batch) => batch.cohort === cohort).map((batch) => batch.library_ids);
      const candidates = cohorts.filter((row) => row.cohort === cohort).map((row) => row.library_id);
      const full = Math.floor(candidates.length / sizes[cohort]);
      expect(ofCohort.flat()).toEqual(candidates.sort((one, other) => one - other));
      expect(ofCohort.map((libraryIds) => libraryIds.length)).toEqual([
        ...Array(full).fill(sizes[cohort]),
        candidates.length % sizes[cohort],
      ]);
    }
    expect(await runOf(runId)).toMatchObject({ planned: ids.length, finished_at: null, outcome: null });
  });

  test('are of 500 and 100 by default', async () => {
    await database.sql`
      with artist as (insert into wxyc_schema.artists (artist_name) values ('Various Artists') returning id)
      insert into wxyc_schema.library
        (artist_id, artist_name, album_title, code_volume_letters, canonical_entity_id, legacy_release_id)
      select artist.id, 'Various Artists', 'Vol. ' || n, case when n <= 101 then 'Z' end, 'artist:1', n
      from artist, generate_series(1, 602) as n`;
    const batches = await batchesOf(await plan(database.sql));
    expect(batches.map((batch) => [batch.cohort, batch.library_ids.length])).toEqual([
      ['va', 100],
      ['va', 1],
      ['non_va', 500],
      ['non_va', 1],
    ]);
  });

  test('hold what the parameters choose, and the run remembers them', async () => {
    const [autechre, stereolab] = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Juana Molina');
    const local = await shelve(database.sql, { artist: 'Accidental Heroes', canonical: false });
    const parameters = {
      scope: 'due',
      stale_days: 3,
      unresolved_retry_days: 4,
      include_null_canonical: true,
      partition_index: local % 2,
      partition_count: 2,
      ids: [stereolab, autechre, local, autechre],
    };
    const runId = await plan(database.sql, {
      ...parameters,
      strict_bands: true,
      opened_by: 'the music director',
    });

    const batches = await batchesOf(runId);
    expect(batches.flatMap((batch) => batch.library_ids)).toEqual(
      [autechre, stereolab, local].filter((id) => id % 2 === local % 2),
    );
    expect(await runOf(runId)).toMatchObject({
      ...parameters,
      ids: [autechre, stereolab, local],
      strict_bands: true,
      dry_run: false,
      opened_by: 'the music director',
    });
  });

  test('can be made of thousands of ids by name', async () => {
    const ids = await shelveRealRecords(database.sql, (_, index) => index >= 2700 && index < 4700);
    const runId = await plan(database.sql, { scope: 'ids', ids });
    expect(await runOf(runId)).toMatchObject({ planned: 2000 });
    expect(await plan(database.sql, { scope: 'ids', ids: ids.toReversed() })).toBe(runId);
  });

  test('hold nothing twice where a record has many credits', async () => {
    const id = await shelve(database.sql, 'Duke Ellington & John Coltrane');
    for (const artist of ['Duke Ellington', 'John Coltrane', 'Sam Woodyard']) {
      await credit(database.sql, id, artist);
    }
    expect(await batchesOf(await plan(database.sql))).toEqual([{ cohort: 'va', library_ids: [id] }]);
  });
});

describe('a run with nothing to ask', () => {
  test.each<[string, Record<string, unknown>]>([
    ['nothing is due', { scope: 'recheck' }],
    ['no id is named', { scope: 'ids', ids: [] }],
    ['a dry run', { scope: 'recheck', dry_run: true }],
  ])('is closed at once: %s', async (_, parameters) => {
    await shelve(database.sql, 'Autechre');
    const runId = await plan(database.sql, parameters);

    expect(await runOf(runId)).toMatchObject({ planned: 0, outcome: 'completed', outcome_reason: null });
    expect((await runOf(runId)).finished_at).toBeInstanceOf(Date);
    expect(await batchesOf(runId)).toEqual([]);
    expect(await lanes()).toEqual([]);
    expect(await plan(database.sql, parameters)).not.toBe(runId);
  });

  test('though ids were named is no success: not one of them can be asked', async () => {
    const nameless = await shelve(database.sql, { artist: ' ' });
    const runId = await plan(database.sql, { scope: 'ids', ids: [987654321, nameless] });
    expect(await runOf(runId)).toMatchObject({
      planned: 0,
      outcome: 'failed',
      outcome_reason: 'none of the ids named is in library with an artist name',
    });
    expect(await batchesOf(runId)).toEqual([]);
  });
});

test('ids that cannot be asked are named in the warnings, and the others asked', async () => {
  const [autechre, nameless] = await shelveAll(database.sql, 'Autechre', { artist: ' ' });
  const runId = await plan(database.sql, { scope: 'ids', ids: [987654321, autechre, nameless] });
  expect(await runOf(runId)).toMatchObject({ planned: 1, outcome: null });
  const [row] =
    await database.sql`select identity_sync.identity_run_report(${runId}) -> 'warnings' as warnings`;
  expect(row!.warnings).toEqual([
    `ids named that are not in library, or have no artist name there: ${nameless},987654321`,
  ]);
});

describe('the lanes that carry it', () => {
  test.each([
    { lanes: 2, batches: 3, enqueued: 2 },
    { lanes: 32, batches: 3, enqueued: 3 },
    { lanes: 1, batches: 1, enqueued: 1 },
  ])('$lanes for $batches batches: $enqueued jobs', async ({ lanes: allowed, batches, enqueued }) => {
    await shelveAll(database.sql, ...Array<string>(batches).fill('Autechre'));
    const runId = await plan(database.sql, { batch_size: 1, lanes: allowed });
    expect(await lanes()).toEqual(Array(enqueued).fill({ run_id: runId }));
  });

  test('are enqueued in the transaction that plans: rolled back, there is nothing at all', async () => {
    const [id] = await shelveAll(database.sql, 'Autechre');
    const rollback = new Error('roll back');
    const planned = database.sql.begin(async (tx) => {
      const runId = await plan(tx);
      expect(await lanes()).toEqual([]);
      expect(await tx`select from graphile_worker.jobs`).toHaveLength(1);
      expect(await tx`select from identity_sync.batch where run_id = ${runId}`).toHaveLength(1);
      throw rollback;
    });
    await expect(planned).rejects.toBe(rollback);

    expect(await lanes()).toEqual([]);
    expect(await database.sql`select from identity_sync.run`).toHaveLength(0);
    expect(await database.sql`select from identity_sync.batch`).toHaveLength(0);
    expect(await candidates(database.sql)).toEqual([id]);
  });
});

async function batchesOf(runId: string) {
  const batches = await database.sql<{ cohort: string; library_ids: number[] }[]>`
    select cohort, library_ids from identity_sync.batch where run_id = ${runId} order by batch_id`;
  return batches.map((batch) => ({ ...batch }));
}

async function runOf(runId: string) {
  const [run] = await database.sql`select * from identity_sync.run where run_id = ${runId}`;
  return run!;
}

async function lanes() {
  const jobs = await database.sql`
    select job.payload from graphile_worker._private_jobs as job
    join graphile_worker.jobs as public using (id)
    where public.task_identifier = 'carry_identity_run'`;
  return jobs.map((job) => job.payload);
}
