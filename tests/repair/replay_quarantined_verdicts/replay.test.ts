// What was refused is judged again as it came, once a rule or a constraint has changed.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  leg,
  type Report,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

type Replayed = Report & { replayed: number; made_due: number; never_replayed: number };

async function replay(runId?: number): Promise<Replayed> {
  const [row] = await call<{ replay_quarantined_verdicts: Replayed }>(
    writer.sql,
    'replay_quarantined_verdicts',
    runId === undefined ? {} : { run_id: runId },
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
  expect(await replay(1)).toMatchObject({ replayed: 0, scanned: 0 });
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
  await writer.sql`update identity_sync.settlement set run_id = 7`;
  const runs = async () => {
    const rows =
      await writer.sql`select library_id, run_id from identity_sync.quarantine order by library_id`;
    return rows.map(({ library_id, run_id }) => [library_id, run_id]);
  };
  const before = await runs();
  expect(before).toHaveLength(3);

  await replay();
  expect(await runs()).toEqual(before);
  expect(await replay(7)).toMatchObject({ replayed: 3 });
  expect(await runs()).toEqual(before);

  // A refusal of another answer is that answer's.
  await writer.service([singleArtist(DILATE, { kind: 'artist' })], { verifiedAt: WEDNESDAY });
  expect((await runs()).filter(([id]) => id === DILATE)).toEqual([[DILATE, null]]);
});
