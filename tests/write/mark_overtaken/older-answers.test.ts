// An answer that is older than the identity, or than the last release, is stale whatever it says: it writes nothing, and
// leaves neither a mark nor a quarantine entry.
import { describe, expect, test } from 'vitest';
import { call, candidates } from '../../support/catalogue.js';
import {
  compilation,
  DILATE,
  MONDAY,
  REPAIR,
  reported,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

const release = (library_id: number) =>
  call(writer.sql, 'release_identity', { library_id, reason: 'the wrong band' });
const isDue = async () => (await candidates(writer.sql, { include_null_canonical: true })).includes(DILATE);
const stale = reported({ rows_skipped: { stale_verdict: 1 } });

const visited = (id: number) => ({
  results: [compilation(id, { tracks_attempted: true, tracks: [] })],
  tracks_contract_version: 1,
});
const ANSWERS: [what: string, answer: (id: number) => unknown][] = [
  ['resolved', (id) => [singleArtist(id)]],
  ['a compilation, visited', visited],
  ['a compilation, not visited', (id) => [compilation(id)]],
  ['unresolved', (id) => [unresolved(id)]],
  ['invalid', (id) => [singleArtist(id, { kind: 'artist' })]],
];

describe('after a release', () => {
  test.each(ANSWERS)(
    'an answer from before it is stale, and the library stays due: %s',
    async (_, answer) => {
      await writer.service([singleArtist(DILATE)]);
      await release(DILATE);
      const marks = await writer.attempts();
      const before = await writer.everything();

      const call = { requested: [DILATE], origin: SERVICE, verifiedAt: TUESDAY };
      expect(await writer.apply(answer(DILATE), call)).toEqual(stale);

      expect(await writer.everything()).toEqual(before);
      expect(await writer.attempts()).toEqual(marks);
      expect(await writer.quarantine()).toEqual([]);
      expect(await isDue()).toBe(true);
    },
  );

  test('it is still stale once a later answer found nothing', async () => {
    await writer.service([singleArtist(DILATE)]);
    await release(DILATE);
    await writer.service([unresolved(DILATE)], { verifiedAt: new Date() });

    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY })).toEqual(stale);
    expect(await writer.identity(DILATE)).toBeUndefined();
  });

  test('it is still stale once a later answer found an identity', async () => {
    await release(DILATE);
    await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() });

    expect(await writer.attempts()).toEqual([]);
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY })).toEqual(stale);
  });

  test('a repair counts, however old its time', async () => {
    await release(DILATE);
    expect(await writer.repair([singleArtist(DILATE)])).toMatchObject({ rows_resolved: 1 });
  });

  test('what was quarantined before it is replayed as stale', async () => {
    await writer.sql.unsafe(`
      create function station.approves(id integer) returns boolean language sql return id <> ${DILATE};
      alter table wxyc_schema.library_identity add constraint approves check (station.approves(library_id));`);
    await writer.service([singleArtist(DILATE)]);
    await writer.sql`alter table wxyc_schema.library_identity drop constraint approves`;
    await release(DILATE);

    const [row] = await call<{ replay_quarantined_verdicts: unknown }>(
      writer.sql,
      'replay_quarantined_verdicts',
    );

    expect(row!.replay_quarantined_verdicts).toMatchObject({ replayed: 1, ...stale });
    expect(await writer.identity(DILATE)).toBeUndefined();
  });

  test('its neighbours are written', async () => {
    await release(DILATE);
    expect(await writer.service([singleArtist(DILATE), unresolved(VARIOUS)])).toEqual(
      reported({ rows_unresolved: 1, rows_skipped: { stale_verdict: 1 } }),
    );
  });
});

describe('beside a newer identity', () => {
  test.each(ANSWERS)(
    'an older answer is stale, and the row is due when it goes stale: %s',
    async (_, answer) => {
      await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
      const before = await writer.everything();

      const call = { requested: [DILATE], origin: SERVICE, verifiedAt: TUESDAY };
      expect(await writer.apply(answer(DILATE), call)).toEqual(stale);

      expect(await writer.everything()).toEqual(before);
      expect(await writer.attempts()).toEqual([]);
      expect(await writer.quarantine()).toEqual([]);
      expect(await isDue()).toBe(true);
    },
  );

  test('what a repair says counts, however old its time', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
    expect(await writer.repair([unresolved(DILATE)], { origin: REPAIR, verifiedAt: MONDAY })).toEqual(
      reported({ rows_unresolved: 1 }),
    );
  });
});

describe('a time ahead of the clock', () => {
  test.each(['infinity', '2999-01-01'])('on an identity makes no answer stale: %s', async (at) => {
    for (const [, answer] of ANSWERS) {
      await writer.sql`
        insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at, notes)
        values (${DILATE}, 'exact_match', 1, ${at}::text::timestamptz, ${SERVICE})
        on conflict (library_id) do update set last_verified_at = ${at}::text::timestamptz`;

      const report = await writer.apply(answer(DILATE), {
        requested: [DILATE],
        origin: SERVICE,
        verifiedAt: new Date(),
      });

      expect(report).toMatchObject({ scanned: 1, rows_skipped: { stale_verdict: 0 } });
    }
  });

  test.each(['infinity', '2999-01-01'])(
    'gives way to the time of an answer that says the same: %s',
    async (at) => {
      await writer.service([singleArtist(DILATE)]);
      await writer.sql`update wxyc_schema.library_identity set last_verified_at = ${at}::text::timestamptz`;

      await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });

      expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: WEDNESDAY });
    },
  );

  test.each(['infinity', '2999-01-01'])('on a mark gives way to any answer: %s', async (at) => {
    const mark = () => writer.sql`
      insert into identity_sync.attempt (library_id, outcome, attempted_at) values (${DILATE}, 'compilation', ${at}::text::timestamptz)
      on conflict (library_id) do update set attempted_at = ${at}::text::timestamptz`;
    await mark();
    await writer.service([unresolved(DILATE)]);
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'unresolved', attempted_at: MONDAY },
    ]);

    await mark();
    await writer.service([singleArtist(DILATE)]);
    expect(await writer.attempts()).toEqual([]);
  });

  test('on a shared row that is released keeps no answer out', async () => {
    await writer.service([singleArtist(DILATE)]);
    await writer.sql`
      update wxyc_schema.library_identity set discogs_master_id = 7, last_verified_at = 'infinity'`;
    await release(DILATE);

    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() })).toMatchObject({
      rows_resolved: 1,
    });
  });
});
