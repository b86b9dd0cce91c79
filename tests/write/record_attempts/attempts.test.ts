// The mark of an answer that left no fresh identity, by which the row is not asked again before its time.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type Circumstances,
  compilation,
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  NOWHERE,
  REPAIR,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

const invalid = (id: number) => singleArtist(id, { kind: 'artist' });

/** Has Dilate held: an operator has set it by hand. */
async function hold() {
  await writer.repair([singleArtist(DILATE)]);
}

/** Has the database refuse every identity of Dilate. */
async function forbid() {
  await writer.sql.unsafe(`
    create function station.approves(id integer) returns boolean language sql return id <> ${DILATE};
    alter table wxyc_schema.library_identity add check (station.approves(library_id));`);
}

describe('an attempt is recorded', () => {
  test.each([
    ['unresolved', unresolved(DILATE), async () => {}],
    ['compilation', compilation(DILATE), async () => {}],
    ['invalid_verdict', invalid(DILATE), async () => {}],
    ['manual_precedence', singleArtist(DILATE), hold],
    ['writer_error', singleArtist(DILATE), forbid],
  ])('by the outcome %s, with the time of the answer', async (outcome, verdict, prepare) => {
    await prepare();

    await writer.service([verdict, singleArtist(ERASER)], { verifiedAt: TUESDAY });

    expect(await writer.attempts()).toEqual([{ library_id: DILATE, outcome, attempted_at: TUESDAY }]);
    const [attempt] = await writer.sql`
      select settlement_id = (select max(settlement_id) from identity_sync.settlement) as is_of_this_call
      from identity_sync.attempt`;
    expect(attempt).toEqual({ is_of_this_call: true });
  });

  test('by what an operator says by hand, too', async () => {
    await writer.repair([unresolved(DILATE)]);
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'unresolved', attempted_at: MONDAY },
    ]);
  });
});

const SEEN_TUESDAY = { library_id: DILATE, outcome: 'compilation', attempted_at: TUESDAY };

describe('an attempt that is there', () => {
  beforeEach(async () => {
    await writer.service([compilation(DILATE)], { verifiedAt: TUESDAY });
  });

  test.each([TUESDAY, WEDNESDAY])('is cleared by a success of the same time or later', async (verifiedAt) => {
    await writer.service([singleArtist(DILATE)], { verifiedAt });
    expect(await writer.attempts()).toEqual([]);
  });

  test('is cleared by a success that changes nothing', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
    await writer.service([unresolved(DILATE)], { verifiedAt: TUESDAY });
    await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
    expect(await writer.attempts()).toEqual([]);
  });

  test('outlives a success that is older', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
    expect(await writer.attempts()).toEqual([SEEN_TUESDAY]);
  });

  test('outlives the success of another library', async () => {
    await writer.service([singleArtist(ERASER)], { verifiedAt: WEDNESDAY });
    expect(await writer.attempts()).toEqual([SEEN_TUESDAY]);
  });

  test.each([TUESDAY, WEDNESDAY])('is replaced by one of the same time or later', async (verifiedAt) => {
    await writer.service([unresolved(DILATE)], { verifiedAt });
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'unresolved', attempted_at: verifiedAt },
    ]);
  });

  test.each([unresolved(DILATE), invalid(DILATE)])(
    'is not replaced by an older one: $kind',
    async (verdict) => {
      await writer.service([verdict], { verifiedAt: MONDAY });
      expect(await writer.attempts()).toEqual([SEEN_TUESDAY]);
    },
  );

  test('gives way to a repair, however old its time', async () => {
    await writer.repair([unresolved(DILATE)], { verifiedAt: MONDAY });
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'unresolved', attempted_at: MONDAY },
    ]);
  });

  test('is cleared by a repair, however old its time', async () => {
    await writer.repair([singleArtist(DILATE)], { verifiedAt: MONDAY });
    expect(await writer.attempts()).toEqual([]);
  });

  // What is no answer about this library tells nothing about it.
  test.each<[string, Fields[] | string, Circumstances]>([
    ['lml_error', 'no answer', { requested: [DILATE] }],
    ['lml_cardinality_mismatch', [], { requested: [DILATE] }],
    ['lml_untrusted_library_id', [singleArtist(DILATE)], { requested: [] }],
  ])('stays as it is with the outcome %s', async (outcome, answer, circumstances) => {
    const call = { origin: SERVICE, verifiedAt: WEDNESDAY, ...circumstances };

    const report = await writer.apply(answer, call);

    expect(report).toMatchObject({ scanned: 1, rows_skipped: { [outcome]: 1 } });
    expect(await writer.attempts()).toEqual([SEEN_TUESDAY]);
  });

  test('stays as it is with a verdict that is stale', async () => {
    await writer.repair([singleArtist(DILATE)], { origin: REPAIR, verifiedAt: WEDNESDAY });
    await writer.sql`update wxyc_schema.library_identity set notes = ${SERVICE}`;
    await writer.service([compilation(DILATE)], { verifiedAt: WEDNESDAY });

    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY })).toMatchObject({
      rows_skipped: { stale_verdict: 1 },
    });
    expect(await writer.attempts()).toEqual([{ ...SEEN_TUESDAY, attempted_at: WEDNESDAY }]);
  });
});

test('an operator’s release is used up by the next answer, but not by an older one', async () => {
  const { sql } = writer;
  const released = { library_id: DILATE, outcome: 'released', attempted_at: TUESDAY };
  await sql`insert into identity_sync.attempt ${sql(released)}`;

  await writer.service([unresolved(DILATE)], { verifiedAt: MONDAY });
  expect(await writer.attempts()).toEqual([released]);

  await writer.service([unresolved(DILATE)], { verifiedAt: WEDNESDAY });
  expect(await writer.attempts()).toEqual([
    { library_id: DILATE, outcome: 'unresolved', attempted_at: WEDNESDAY },
  ]);
});

test('a library that is gone gets no attempt', async () => {
  await writer.service([unresolved(NOWHERE)]);
  expect(await writer.attempts()).toEqual([]);
});
