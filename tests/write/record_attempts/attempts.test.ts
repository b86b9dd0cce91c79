// The mark of an answer that left no fresh identity, by which the row is not asked again before its time.
import { beforeEach, describe, expect, test } from 'vitest';
import fc from '../../support/fast-check.js';
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
  withMain,
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

describe('a refusal', () => {
  const released = { library_id: DILATE, outcome: 'released', attempted_at: TUESDAY };

  const refusals: [string, () => Promise<void>, Fields][] = [
    ['invalid', async () => {}, invalid(DILATE)],
    ['refused by the database', forbid, singleArtist(DILATE)],
  ];

  test.each(refusals)(
    'of a repair freezes no healthy row, and is quarantined: %s',
    async (_, prepare, verdict) => {
      await prepare();
      await writer.repair([verdict], { verifiedAt: WEDNESDAY });
      expect(await writer.attempts()).toEqual([]);
      expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, origin: REPAIR }]);
    },
  );

  test.each(refusals)('of a repair leaves the mark that is there: %s', async (_, prepare, verdict) => {
    await writer.service([compilation(DILATE)], { verifiedAt: TUESDAY });
    await prepare();
    await writer.repair([verdict], { verifiedAt: WEDNESDAY });
    expect(await writer.attempts()).toEqual([SEEN_TUESDAY]);
  });

  test.each(refusals)('takes no release away, by hand or of the service: %s', async (_, prepare, verdict) => {
    await writer.sql`insert into identity_sync.attempt ${writer.sql(released)}`;
    await prepare();
    await writer.repair([verdict], { verifiedAt: WEDNESDAY });
    await writer.service([verdict], { verifiedAt: WEDNESDAY });
    expect(await writer.attempts()).toEqual([released]);
  });

  test('by LML takes no release away either, but a poison input that was replayed is refused like any other', async () => {
    const { sql } = writer;
    const poison = () => sql`
      select identity_sync_private.replace_attempt(${DILATE}, 'poison_input', clock_timestamp(), null)`;
    await sql`select identity_sync.release_identity(${DILATE}, 'the wrong band')`;
    await poison();
    expect(await writer.attempts()).toMatchObject([{ outcome: 'released' }]);

    await sql`select identity_sync_private.replace_attempt(${DILATE}, 'released', clock_timestamp(), null)`;
    await poison();
    expect(await writer.attempts()).toMatchObject([{ outcome: 'poison_input' }]);
  });
});

const BY = ['service', 'service', 'service', 'repair', 'repair', 'release'] as const;

describe('the mark of a hold', () => {
  test.each([
    ['older than', MONDAY, []],
    ['as old as', TUESDAY, [{ library_id: DILATE, outcome: 'manual_precedence', attempted_at: TUESDAY }]],
    [
      'newer than',
      WEDNESDAY,
      [{ library_id: DILATE, outcome: 'manual_precedence', attempted_at: WEDNESDAY }],
    ],
  ])('is left by no answer that is older than the identity: %s it', async (_, verifiedAt, marks) => {
    await writer.repair([singleArtist(DILATE)], { verifiedAt: TUESDAY });
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt })).toMatchObject({
      rows_skipped: { manual_precedence: 1 },
    });
    expect(await writer.attempts()).toEqual(marks);
  });

  test('is never older than its identity, in any order of answers, repairs and releases', async () => {
    const { sql } = writer;
    const at = fc.constantFrom(MONDAY, TUESDAY, WEDNESDAY);
    const resolved = [singleArtist(DILATE), withMain(singleArtist(DILATE), { discogs_artist_id: 5 })];
    const others = [unresolved(DILATE), compilation(DILATE), invalid(DILATE)];
    const said = fc.constantFrom(...resolved, ...resolved, ...others);
    const act = fc.record({ by: fc.constantFrom(...BY), said, at });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 3, maxLength: 8 }), async (acts) => {
        await sql`delete from wxyc_schema.library_identity_source`;
        await sql`delete from wxyc_schema.library_identity`;
        await sql`delete from identity_sync.attempt`;
        for (const { by, said: verdict, at: verifiedAt } of acts) {
          if (by === 'release') await sql`select identity_sync.release_identity(${DILATE}, 'why not')`;
          else await writer[by]([verdict], { verifiedAt });
        }
        const [older] = await sql`
          select attempt.outcome, attempt.attempted_at, known.last_verified_at
          from identity_sync.attempt
          join wxyc_schema.library_identity as known on known.library_id = attempt.library_id
          where attempt.outcome = 'manual_precedence' and attempt.attempted_at < known.last_verified_at`;
        expect(older).toBeUndefined();
      }),
      { numRuns: 150 },
    );
  });
});

test('a library that is gone gets no attempt', async () => {
  await writer.service([unresolved(NOWHERE)]);
  expect(await writer.attempts()).toEqual([]);
});
