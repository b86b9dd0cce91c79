// Two sessions at once, step by step: each waits for the other where it must, and neither loses what the other wrote.
import type postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  REPAIR,
  type Report,
  repair,
  reported,
  SANGOMA,
  SERVICE,
  service,
  shelve,
  singleArtist,
  TUESDAY,
  unresolved,
  untilBlocked,
  useWriter,
  VARIOUS,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const better = withMain(singleArtist(DILATE), { discogs_artist_id: 5 });
const best = withMain(singleArtist(DILATE), { discogs_artist_id: 6 });

/**
 * Has another session do something in a transaction that stays open, applies verdicts that must wait for it, and lets
 * it commit: the report is that of the session which had to wait.
 */
async function meanwhile(
  theirs: (sql: postgres.Sql) => PromiseLike<unknown>,
  verdicts: Fields[],
): Promise<Report> {
  const [them, us] = [await writer.session(), await writer.session()];
  try {
    await them.sql`begin`;
    await theirs(them.sql);
    const application = service(us.sql, verdicts, { verifiedAt: TUESDAY });
    await Promise.race([untilBlocked(writer.sql, us), application]);
    await them.sql`commit`;
    return await application;
  } finally {
    // A transaction left open would hold up every test to come; after a commit this is a warning.
    await them.sql`rollback`;
  }
}

describe('two sessions that apply verdicts', () => {
  test('wait for each other in the order of ids, whatever the order of their verdicts', async () => {
    const verdicts = [SANGOMA, DILATE, ERASER, NEW_AMERYKAH].map((id) => singleArtist(id));

    const report = await meanwhile((sql) => service(sql, verdicts), verdicts.toReversed());

    expect(report).toEqual(
      reported({ rows_resolved: 4, identity: { unchanged: 4 }, source: { unchanged: 8 } }),
    );
  });

  test('both have their say in the history of a record', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile((sql) => service(sql, [better], { verifiedAt: TUESDAY }), [best]);

    expect(report).toMatchObject({ identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 6 });
    expect(await writer.history(DILATE)).toMatchObject([
      { discogs_artist_id: 11442 },
      { discogs_artist_id: 5 },
    ]);
  });

  test('find out that the other one’s answer is newer', async () => {
    const report = await meanwhile(
      (sql) => service(sql, [better], { verifiedAt: new Date('2026-12-01') }),
      [best],
    );
    expect(report).toEqual(reported({ rows_skipped: { stale_verdict: 1 } }));
  });

  test('find out that the other one has set the row by hand', async () => {
    const report = await meanwhile((sql) => repair(sql, [better]), [best]);
    expect(report).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
  });

  test('do not wait where they have nothing in common', async () => {
    const [them, us] = [await writer.session(), await writer.session()];
    await them.sql`begin`;
    try {
      await service(them.sql, [singleArtist(DILATE)]);
      expect(await service(us.sql, [singleArtist(SANGOMA)])).toMatchObject({ rows_resolved: 1 });
    } finally {
      await them.sql`rollback`;
    }
  });

  describe('of which one has too many for a lock each', () => {
    const many = Array.from({ length: 1_001 }, (_, index) => singleArtist(1_000_000 + index));
    const one = many.slice(500, 501);

    test.each([
      ['first', many, one],
      ['second', one, many],
    ])('wait all the same, if it comes %s', async (_, theirs, ours) => {
      await shelve(
        writer.sql,
        many.map(({ library_id }) => ({ id: library_id as number })),
      );
      const report = await meanwhile((sql) => repair(sql, theirs), ours);
      expect(report).toMatchObject({ scanned: ours.length, rows_skipped: { manual_precedence: 1 } });
    });
  });

  test('that overlap, in opposite order, 200 times, neither deadlock nor lose a version', async () => {
    const rounds = 200;
    const ids = Array.from({ length: 30 }, (_, index) => index + 1);
    await shelve(
      writer.sql,
      ids.map((id) => ({ id })),
    );
    // Every version of every record is another one and none is too old, so that what is lost would be missing in the
    // history. Every third verdict is refused and every third finds nothing.
    const written = (id: number, round: number) => (id + round) % 3 === 0;
    const verdict = (id: number, round: number, version: number) => {
      if (written(id, round)) return withMain(singleArtist(id), { discogs_artist_id: version });
      return (id + round) % 3 === 1 ? singleArtist(id, { kind: 'artist' }) : unresolved(id);
    };
    const apply = async (order: number[], first: number) => {
      const { sql } = await writer.session();
      let changed = 0;
      for (let round = 0; round < rounds; round++) {
        const report = await service(
          sql,
          order.map((id) => verdict(id, round, first + round)),
        );
        expect(report).toMatchObject({ rows_resolved: 10, rows_unresolved: 10, scanned: 30 });
        changed += report.identity.changed;
      }
      return changed;
    };

    const changed = await Promise.all([apply(ids, 1), apply(ids.toReversed(), 1 + rounds)]);

    const [{ kept }] = await writer.sql<[{ kept: number }]>`
      select count(*)::integer as kept from wxyc_schema.library_identity_history`;
    expect(kept).toBe(changed[0]! + changed[1]!);
    const versions = await writer.sql<{ library_id: number; all: number; distinct: number }[]>`
      select
        library_id,
        count(*)::integer as all,
        count(distinct discogs_artist_id)::integer as distinct
      from (
        select library_id, discogs_artist_id from wxyc_schema.library_identity_history
        union all
        select library_id, discogs_artist_id from wxyc_schema.library_identity
      ) as version
      group by library_id
      order by library_id`;
    expect([...versions]).toEqual(
      ids.map((library_id) => {
        const all =
          2 * Array.from({ length: rounds }).filter((_, round) => written(library_id, round)).length;
        return { library_id, all, distinct: all };
      }),
    );
  });
});

describe('another writer of the same row, who knows nothing of us,', () => {
  test('keeps the columns that are its own, and our history has them', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) =>
        sql`update wxyc_schema.library_identity set discogs_master_id = 7 where library_id = ${DILATE}`,
      [better],
    );

    expect(report).toMatchObject({ identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 5, discogs_master_id: 7 });
    expect(await writer.history(DILATE)).toMatchObject([{ discogs_artist_id: 11442, discogs_master_id: 7 }]);
  });

  const byHand = { discogs_artist_id: 77, notes: REPAIR };

  test.each([
    ['another', [better]],
    ['another, beside others', [singleArtist(ERASER), better, singleArtist(SANGOMA)]],
    ['the same', [singleArtist(DILATE)]],
  ])('sets it by hand in time: it is held, although the verdict is %s', async (_, verdicts) => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) => sql`
        with source as (
          update wxyc_schema.library_identity_source set external_id = '77', notes = ${REPAIR}
          where library_id = ${DILATE} and source = 'discogs'
        )
        update wxyc_schema.library_identity set ${sql(byHand)} where library_id = ${DILATE}`,
      verdicts,
    );

    expect(await writer.identity(DILATE)).toMatchObject({ ...byHand, last_verified_at: MONDAY });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '77', notes: REPAIR } });
    expect(await writer.history(DILATE)).toEqual([]);
    expect(report).toMatchObject({ rows_skipped: { manual_precedence: 1 } });
  });

  test.each([
    ['alone', [singleArtist(DILATE)]],
    ['beside others', [singleArtist(ERASER), singleArtist(DILATE), singleArtist(SANGOMA)]],
  ])('inserts it by hand before we can: it is held, %s', async (_, verdicts) => {
    const row = { library_id: DILATE, method: 'manual', confidence: 1, last_verified_at: MONDAY, ...byHand };

    const report = await meanwhile(
      (sql) => sql`insert into wxyc_schema.library_identity ${sql(row)}`,
      verdicts,
    );

    expect(report).toMatchObject({
      rows_resolved: verdicts.length - 1,
      rows_skipped: { manual_precedence: 1, writer_error: 0 },
    });
    expect(await writer.identity(DILATE)).toMatchObject(byHand);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('inserts a source before we can: ours is a change of it', async () => {
    const row = { library_id: DILATE, source: 'discogs', external_id: '77', method: 'manual', confidence: 1 };

    const report = await meanwhile(
      (sql) => sql`
        insert into wxyc_schema.library_identity_source ${sql({ ...row, last_verified_at: MONDAY })}`,
      [singleArtist(DILATE)],
    );

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 1, changed: 1 } }),
    );
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '11442', notes: SERVICE } });
    expect(await writer.superseded(DILATE)).toMatchObject([
      { source: 'discogs', action: 'changed', external_id: '77' },
    ]);
  });

  test('takes over a source that the verdict no longer names: it stays', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) => sql`
        update wxyc_schema.library_identity_source set notes = 'backfill'
        where library_id = ${DILATE} and source = 'spotify'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '11442')] })],
    );

    expect(report).toMatchObject({ source: { unchanged: 1, removed: 0 } });
    expect(await writer.sources(DILATE)).toMatchObject({ spotify: { notes: 'backfill' } });
    expect(await writer.superseded(DILATE)).toEqual([]);
  });

  test('changes a source that the verdict changes: what it left is kept', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) => sql`
        update wxyc_schema.library_identity_source set external_id = '77', notes = 'backfill'
        where library_id = ${DILATE} and source = 'discogs'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '5')] })],
    );

    expect(report).toMatchObject({ source: { changed: 1, removed: 1 } });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '5', notes: SERVICE } });
    expect(await writer.superseded(DILATE)).toContainEqual(
      expect.objectContaining({ source: 'discogs', external_id: '77', notes: 'backfill' }),
    );
  });

  test('deletes a source that the verdict changes: it is written anew', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) => sql`
        delete from wxyc_schema.library_identity_source where library_id = ${DILATE} and source = 'discogs'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '5')] })],
    );

    expect(report).toMatchObject({ source: { inserted: 1, changed: 0, removed: 1 } });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '5' } });
  });

  test.each([
    ['another', better],
    ['the same', singleArtist(DILATE)],
  ])('deletes it: the verdict, which is %s, is written anew, whole', async (_, verdict) => {
    await writer.service([singleArtist(DILATE)]);

    const report = await meanwhile(
      (sql) => sql`
        with source as (delete from wxyc_schema.library_identity_source where library_id = ${DILATE})
        delete from wxyc_schema.library_identity where library_id = ${DILATE}`,
      [verdict],
    );

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } }),
    );
    expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: TUESDAY });
    expect(Object.keys(await writer.sources(DILATE))).toHaveLength(2);
  });
});

describe('a record that leaves the library meanwhile', () => {
  test.each([
    ['alone', []],
    ['beside others', [singleArtist(ERASER), singleArtist(VARIOUS)]],
  ])('counts as gone: %s', async (_, others) => {
    const report = await meanwhile(
      (sql) => sql`delete from wxyc_schema.library where id = ${DILATE}`,
      [singleArtist(DILATE), ...others],
    );

    expect(report).toEqual(
      reported({
        rows_resolved: others.length,
        rows_skipped: { library_gone: 1 },
        identity: { inserted: others.length },
        source: { inserted: 2 * others.length },
      }),
    );
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test.each([
    ['another', better],
    ['the same', singleArtist(DILATE)],
    ['the same, of no source', singleArtist(DILATE, { provenance: [] })],
  ])('counts as gone with the identity that it had, where the verdict is %s', async (_, verdict) => {
    await writer.service([singleArtist(DILATE, { provenance: verdict.provenance })]);

    const report = await meanwhile(
      (sql) => sql`
        with source as (delete from wxyc_schema.library_identity_source where library_id = ${DILATE}),
        identity as (delete from wxyc_schema.library_identity where library_id = ${DILATE})
        delete from wxyc_schema.library where id = ${DILATE}`,
      [verdict],
    );

    expect(report).toEqual(reported({ rows_skipped: { library_gone: 1 } }));
    expect(await writer.identity(DILATE)).toBeUndefined();
    expect(await writer.sources(DILATE)).toEqual({});
  });
});
