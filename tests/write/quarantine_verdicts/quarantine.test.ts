// What was refused is set aside as it came: one open entry a library, the latest refusal, until a success closes it.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type Circumstances,
  compilation,
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  reported,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

const invalid = (id: number, kind = 'artist') => singleArtist(id, { kind });

/** Every entry there ever was, the oldest first, and what became of it. */
async function entries(): Promise<Fields[]> {
  const rows = await writer.sql`
    select library_id, outcome, value::text, closed_reason from identity_sync.quarantined_verdict order by quarantine_id`;
  return [...rows];
}

/** What the closing of an entry says, less the number of the settlement. */
const byLaterRefusal = expect.stringMatching(/^a later refusal, settlement \d+$/);

test('an entry holds all that a replay needs', async () => {
  const verdict = { ...invalid(DILATE), note: 'as it came' };

  await writer.service([singleArtist(ERASER), verdict], { verifiedAt: TUESDAY, strictBands: true });

  const [entry] = await writer.sql`
    select entry.*, settlement.report
    from identity_sync.quarantined_verdict as entry
    join identity_sync.settlement on settlement.settlement_id = entry.settlement_id`;
  expect(entry).toMatchObject({
    library_id: DILATE,
    verdict,
    verdict_text: null,
    origin: SERVICE,
    verified_at: TUESDAY,
    strict_bands: true,
    closed_at: null,
    report: { scanned: 2 },
  });
});

describe('an open entry', () => {
  beforeEach(async () => {
    await writer.service([invalid(DILATE)], { verifiedAt: TUESDAY });
  });

  test('is closed by a later refusal, which is then the open one', async () => {
    await writer.service([invalid(DILATE, 'band')], { verifiedAt: WEDNESDAY });

    expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, value: '"band"' }]);
    expect(await entries()).toMatchObject([
      { value: '"artist"', closed_reason: byLaterRefusal },
      { value: '"band"', closed_reason: null },
    ]);
  });

  test('is closed by a later refusal of the database', async () => {
    await writer.sql.unsafe(`
      create function station.approves(id integer) returns boolean language sql return id <> ${DILATE};
      alter table wxyc_schema.library_identity add check (station.approves(library_id));`);
    await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
    expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, outcome: 'writer_error' }]);
  });

  test.each([
    ['resolved', singleArtist(DILATE)],
    ['unresolved', unresolved(DILATE)],
    ['compilation', compilation(DILATE)],
  ])('is closed by a later answer that is %s', async (outcome, verdict) => {
    await writer.service([verdict], { verifiedAt: WEDNESDAY });

    expect(await writer.quarantine()).toEqual([]);
    expect(await entries()).toMatchObject([
      { closed_reason: expect.stringMatching(new RegExp(`^${outcome} by settlement \\d+$`)) },
    ]);
  });

  test('is closed when its record has left the library', async () => {
    await writer.sql`delete from wxyc_schema.library where id = ${DILATE}`;
    await writer.service([], { requested: [DILATE], verifiedAt: WEDNESDAY });
    expect(await writer.quarantine()).toEqual([]);
  });

  test('is closed by a success of the same time, as a replay is', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
    expect(await writer.quarantine()).toEqual([]);
  });

  test('is not closed by a success that is older', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
    expect(await writer.quarantine()).toMatchObject([{ value: '"artist"' }]);
  });

  test('is closed by a repair, however old its time', async () => {
    await writer.repair([singleArtist(DILATE)], { verifiedAt: MONDAY });
    expect(await writer.quarantine()).toEqual([]);
  });

  test('is not closed by the success of another library', async () => {
    await writer.service([singleArtist(ERASER)], { verifiedAt: WEDNESDAY });
    expect(await writer.quarantine()).toHaveLength(1);
  });

  test.each<[string, Fields[] | string, Circumstances]>([
    ['lml_error', 'no answer', { requested: [DILATE] }],
    ['lml_cardinality_mismatch', [], { requested: [DILATE] }],
  ])('is not closed by the outcome %s', async (outcome, answer, circumstances) => {
    const call = { origin: SERVICE, verifiedAt: WEDNESDAY, ...circumstances };

    const report = await writer.apply(answer, call);

    expect(report).toMatchObject({ scanned: 1, rows_skipped: { [outcome]: 1 } });
    expect(await writer.quarantine()).toHaveLength(1);
  });

  test('is not closed by a verdict that is held or stale', async () => {
    const { sql } = writer;
    const row = { library_id: DILATE, method: 'manual', confidence: 1, last_verified_at: WEDNESDAY };
    await sql`insert into wxyc_schema.library_identity ${sql(row)}`;
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY })).toMatchObject({
      rows_skipped: { manual_precedence: 1 },
    });

    await sql`update wxyc_schema.library_identity set notes = ${SERVICE}`;
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY })).toMatchObject({
      rows_skipped: { stale_verdict: 1 },
    });

    expect(await writer.quarantine()).toHaveLength(1);
  });

  test('is not pushed out by an unrequested result, which is recorded all the same', async () => {
    await writer.service([singleArtist(DILATE)], { requested: [], verifiedAt: WEDNESDAY });

    expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, outcome: 'invalid_verdict' }]);
    expect(await entries()).toMatchObject([
      { outcome: 'invalid_verdict', closed_reason: null },
      {
        outcome: 'lml_untrusted_library_id',
        closed_reason: 'it was not asked for, and a refusal that can be replayed is open',
      },
    ]);
  });

  test('of an unrequested result is pushed out by any other refusal', async () => {
    const untrusted = { requested: [], verifiedAt: WEDNESDAY };
    await writer.service([singleArtist(ERASER)], untrusted);
    await writer.service([singleArtist(ERASER, { confidence: 0.5 })], untrusted);
    await writer.service([invalid(ERASER)], { verifiedAt: WEDNESDAY });

    expect(await writer.quarantine()).toMatchObject([
      { library_id: DILATE, outcome: 'invalid_verdict' },
      { library_id: ERASER, outcome: 'invalid_verdict' },
    ]);
    expect(await entries()).toMatchObject([
      { closed_reason: null },
      { outcome: 'lml_untrusted_library_id', closed_reason: byLaterRefusal },
      { outcome: 'lml_untrusted_library_id', closed_reason: byLaterRefusal },
      { outcome: 'invalid_verdict', closed_reason: null },
    ]);
  });
});

describe('of an answer that names an id twice', () => {
  test.each([
    ['first', [invalid(DILATE), singleArtist(DILATE)]],
    ['first of three', [invalid(DILATE), singleArtist(DILATE), unresolved(DILATE)]],
  ])('the refusal that can be replayed stays open: the %s', async (_, verdicts) => {
    await writer.service(verdicts);

    expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, outcome: 'invalid_verdict' }]);
    expect(await entries()).toHaveLength(verdicts.length);
  });

  test('the last one is open where the first was fine', async () => {
    await writer.service([singleArtist(DILATE), unresolved(DILATE), compilation(DILATE)]);

    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(JSON.parse(entry!.verdict as string)).toMatchObject({ kind: 'compilation' });
  });
});

test('entries that name no library do not push each other out, nor are they taken for one', async () => {
  const unnamed = singleArtist(DILATE, { library_id: null });
  const report = await writer.service([7 as never, unnamed, unresolved(ERASER), unresolved(ERASER)], {
    requested: [ERASER],
  });

  expect(report).toEqual(
    reported({ rows_unresolved: 1, rows_skipped: { invalid_verdict: 2, lml_untrusted_library_id: 1 } }),
  );
  expect(await writer.quarantine()).toMatchObject([
    { library_id: ERASER },
    { library_id: null, value: '7' },
    { library_id: null, value: 'null' },
  ]);
});
