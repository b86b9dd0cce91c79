// What was refused is judged again as it came, once a rule or a constraint has changed.

import { describe, expect, test } from 'vitest';
import { call, plan, shelveRows } from '../../support/catalogue.js';
import { lastRun } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  leg,
  MONDAY,
  REPAIR,
  type Report,
  repair,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  untilBlocked,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

type Replayed = Report & { replayed: number; made_due: number; never_replayed: number };

async function replay(named: { run_id?: number; ids?: number[] } = {}): Promise<Replayed> {
  const [row] = await call<{ replay_quarantined_verdicts: Replayed }>(
    writer.sql,
    'replay_quarantined_verdicts',
    named,
  );
  return row!.replay_quarantined_verdicts;
}

const forbid = (id: number) =>
  writer.sql.unsafe(`
    create function station.approves(id integer) returns boolean language sql return id <> ${id};
    alter table wxyc_schema.library_identity add constraint approves check (station.approves(library_id));`);
const allow = () => writer.sql`alter table wxyc_schema.library_identity drop constraint approves`;

test('a verdict that the database refused is written once it allows it, with its own origin and time', async () => {
  await forbid(DILATE);
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  await allow();

  expect(await replay()).toMatchObject({ replayed: 1, rows_resolved: 1, made_due: 0, never_replayed: 0 });

  expect(await writer.identity(DILATE)).toMatchObject({ notes: SERVICE, last_verified_at: TUESDAY });
  expect(await writer.quarantine()).toEqual([]);
});

test('what is refused again goes back in, once', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'artist' })]);

  expect(await replay()).toMatchObject({ replayed: 1, rows_skipped: { invalid_verdict: 1 } });
  expect(await replay()).toMatchObject({ replayed: 1, rows_skipped: { invalid_verdict: 1 } });

  expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, outcome: 'invalid_verdict' }]);
});

test('strict bands stay strict', async () => {
  const out = singleArtist(DILATE, { provenance: [leg('discogs', '5', { confidence: 0.5 })] });
  await writer.service([out], { strictBands: true });
  expect(await replay()).toMatchObject({ rows_resolved: 0, rows_skipped: { invalid_verdict: 1 } });
});

test('a verdict that no one had requested is never replayed', async () => {
  await writer.service([singleArtist(DILATE)], { requested: [ERASER] });

  expect(await replay()).toMatchObject({ replayed: 0, never_replayed: 1 });

  expect(await writer.identity(DILATE)).toBeUndefined();
  expect(await writer.quarantine()).toMatchObject([{ outcome: 'lml_untrusted_library_id' }]);
});

test('a poison input has no verdict to replay, and is due instead', async () => {
  await writer.service([singleArtist(SANGOMA, { kind: 'artist' })]);
  await writer.sql`
    update identity_sync.quarantined_verdict set outcome = 'poison_input', reason = 'LML answered 500', verdict = null`;

  expect(await replay()).toMatchObject({ replayed: 0, made_due: 1 });

  expect(await writer.attempts()).toMatchObject([{ library_id: SANGOMA, outcome: 'released' }]);
});

test('of one run only that run’s entries are replayed', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'artist' })]);
  const runId = await plan(writer.sql, { scope: 'ids', ids: [ERASER] });
  expect(await replay({ run_id: Number(runId) })).toMatchObject({ replayed: 0, scanned: 0 });
});

test('of the libraries named only their entries are replayed', async () => {
  await writer.service([DILATE, SANGOMA, ERASER].map((id) => singleArtist(id, { kind: 'artist' })));
  await writer.sql`
    update identity_sync.quarantined_verdict set outcome = 'poison_input', verdict = null where library_id = ${ERASER}`;
  await writer.sql`
    update identity_sync.quarantined_verdict set outcome = 'lml_untrusted_library_id' where library_id = ${SANGOMA}`;
  const counts = async (ids: number[]) => {
    const { replayed, made_due, never_replayed } = await replay({ ids });
    return [replayed, made_due, never_replayed];
  };

  expect(await counts([DILATE])).toEqual([1, 0, 0]);
  expect(await counts([SANGOMA, 4_000_000])).toEqual([0, 0, 1]);
  expect(await counts([DILATE, ERASER])).toEqual([1, 1, 0]);
  expect(await counts([])).toEqual([0, 0, 0]);
});

test.each(['infinity', '-infinity', '2199-01-01'])(
  'an entry of the time %s stays where it is, and keeps no other from being replayed',
  async (time) => {
    await writer.service([DILATE, SANGOMA].map((id) => singleArtist(id, { kind: 'artist' })));
    await writer.sql`
      update identity_sync.quarantined_verdict set verified_at = ${time}::text::timestamptz
      where library_id = ${DILATE}`;

    expect(await replay()).toMatchObject({ replayed: 1, never_replayed: 1 });

    expect((await writer.quarantine()).map(({ library_id }) => library_id).sort()).toEqual(
      [DILATE, SANGOMA].sort(),
    );
  },
);

test('an unknown run is an error', async () => {
  await expect(replay({ run_id: 987_654_321 })).rejects.toMatchObject({ code: 'LS002' });
});

describe('beside a session that holds a library open', () => {
  const meanwhile = async (work: () => Promise<void>) => {
    const { sql } = await writer.session();
    await sql`begin`;
    await repair(sql, [singleArtist(SANGOMA)]);
    await work().finally(() => sql`rollback`);
  };

  test('an empty quarantine is replayed without waiting, and neither is what it does not hold', async () => {
    await meanwhile(async () => {
      expect(await replay()).toMatchObject({ scanned: 0, replayed: 0 });
      await writer.service([singleArtist(DILATE, { kind: 'artist' })]);
      expect(await replay()).toMatchObject({ replayed: 1 });
    });
  });

  test('three sessions: a replay that waits for the library holds up no session that writes another', async () => {
    await writer.service([DILATE, SANGOMA].map((id) => singleArtist(id, { kind: 'artist' })));
    await writer.sql`alter function identity_sync.replay_quarantined_verdicts set lock_timeout = '1min'`;
    const replaying = await writer.session();
    let replayed: PromiseLike<unknown> | undefined;
    await meanwhile(async () => {
      replayed = replaying.sql`select identity_sync.replay_quarantined_verdicts()`.execute();
      await untilBlocked(writer.sql, replaying);
      expect(await writer.service([singleArtist(ERASER)])).toMatchObject({ rows_resolved: 1 });
      await untilBlocked(writer.sql, replaying);
    });
    await replayed;
    expect(await writer.quarantine()).toHaveLength(2);
  });
});

test('an entry that is closed while a replay waits for it is not replayed', async () => {
  await writer.service([DILATE, SANGOMA].map((id) => singleArtist(id, { kind: 'artist' })));
  const [closing, replaying] = [await writer.session(), await writer.session()];
  await closing.sql`begin`;
  // As the brake does, which holds no library.
  await closing.sql`
    update identity_sync.quarantined_verdict set closed_at = clock_timestamp(), closed_reason = 'taken back'
    where library_id = ${DILATE}`;
  const replayed = replaying.sql`select identity_sync.replay_quarantined_verdicts() as report`.execute();
  await untilBlocked(writer.sql, replaying);
  await closing.sql`commit`;

  expect((await replayed)[0]!.report).toMatchObject({ replayed: 1, rows_skipped: { invalid_verdict: 1 } });
  expect((await writer.quarantine()).map(({ library_id }) => library_id)).toEqual([SANGOMA]);
});

test('entries of one answer are applied together, each kind of them apart', async () => {
  const ids = Array.from({ length: 600 }, (_, index) => 1_000_000 + index);
  await shelveRows(
    writer.sql,
    ids.map((id) => ({ id })),
  );
  const refused = ids.map((id) => singleArtist(id, { kind: 'artist' }));
  await writer.service(refused.slice(0, 300));
  await writer.service(refused.slice(300, 500), { verifiedAt: TUESDAY });
  await writer.repair(refused.slice(500), { verifiedAt: TUESDAY });
  await writer.sql`delete from identity_sync.settlement`;

  expect(await replay()).toMatchObject({ replayed: 600, rows_skipped: { invalid_verdict: 600 } });

  const settlements = await writer.sql`
    select origin, verified_at, requested from identity_sync.settlement order by settlement_id`;
  expect([...settlements]).toEqual([
    { origin: SERVICE, verified_at: MONDAY, requested: 300 },
    { origin: SERVICE, verified_at: TUESDAY, requested: 200 },
    { origin: REPAIR, verified_at: TUESDAY, requested: 100 },
  ]);
});

test('a replay looks at each entry a few times, however many others are replayed', async () => {
  const ids = Array.from({ length: 900 }, (_, index) => 1_000_000 + index);
  await shelveRows(
    writer.sql,
    ids.map((id) => ({ id })),
  );
  await writer.service(ids.map((id) => singleArtist(id, { kind: 'artist' })));
  const looks = await writer.sql.begin(async (tx) => {
    await tx`select identity_sync.replay_quarantined_verdicts()`;
    const [counted] = await tx`
      select (coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::integer as rows
      from pg_stat_xact_user_tables where relid = 'identity_sync.quarantined_verdict'::regclass`;
    return counted!.rows;
  });
  expect(looks).toBeGreaterThan(ids.length);
  expect(looks).toBeLessThan(100 * ids.length);
});

test('an empty quarantine gives an empty report', async () => {
  expect(await replay()).toMatchObject({ scanned: 0, replayed: 0, made_due: 0, never_replayed: 0 });
});

test('what is refused again keeps its run, however often it is replayed', async () => {
  await writer.service(
    [
      singleArtist(DILATE, { kind: 'artist' }),
      singleArtist(SANGOMA, { library_id: null }),
      singleArtist(ERASER, { kind: 'x' }),
    ],
    { requested: [DILATE, ERASER] },
  );
  const [{ run_id: run }] = await writer.sql<[{ run_id: string }]>`
    select run_id from identity_sync.plan_identity_run(scope => 'ids', ids => array[${DILATE}]::integer[]) as run_id`;
  await writer.sql`update identity_sync.settlement set run_id = ${run}`;
  const runs = async () => {
    const rows =
      await writer.sql`select library_id, run_id from identity_sync.quarantine order by library_id`;
    return rows.map(({ library_id, run_id }) => [library_id, run_id]);
  };
  const before = await runs();
  expect(before).toHaveLength(3);

  await replay();
  expect(await runs()).toEqual(before);
  expect(await replay({ run_id: Number(run) })).toMatchObject({ replayed: 3 });
  expect(await runs()).toEqual(before);

  // A refusal of another answer is that answer's.
  await writer.service([singleArtist(DILATE, { kind: 'artist' })], { verifiedAt: WEDNESDAY });
  expect((await runs()).filter(([id]) => id === DILATE)).toEqual([[DILATE, await lastRun(writer.sql)]]);
});
