import { describe, expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  NEW_AMERYKAH,
  repair,
  reported,
  SANGOMA,
  service,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  WEDNESDAY,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const better = withMain(singleArtist(DILATE), { discogs_artist_id: 5 });
const best = withMain(singleArtist(DILATE), { discogs_artist_id: 6 });

describe('two sessions that apply verdicts', () => {
  test('wait for each other in the order of ids, not of their verdicts', async () => {
    const verdicts = [SANGOMA, DILATE, ERASER, NEW_AMERYKAH].map((id) => singleArtist(id));

    const report = await writer.meanwhile((sql) => service(sql, verdicts), verdicts.toReversed());

    expect(report).toEqual(
      reported({ rows_resolved: 4, identity: { unchanged: 4 }, source: { unchanged: 8 } }),
    );
  });

  test('both have their say in the history of a record', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile((sql) => service(sql, [better], { verifiedAt: TUESDAY }), [best]);

    expect(report).toMatchObject({ identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 6 });
    expect(await writer.history(DILATE)).toMatchObject([
      { discogs_artist_id: 11442 },
      { discogs_artist_id: 5 },
    ]);
  });

  test('find out that the other one’s answer is newer', async () => {
    const report = await writer.meanwhile((sql) => service(sql, [better], { verifiedAt: WEDNESDAY }), [best]);
    expect(report).toEqual(reported({ rows_skipped: { stale_verdict: 1 } }));
  });

  test('find out that the other one has set the row by hand', async () => {
    const report = await writer.meanwhile((sql) => repair(sql, [better]), [best]);
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
      await shelveRows(
        writer.sql,
        many.map(({ library_id }) => ({ id: library_id as number })),
      );
      const report = await writer.meanwhile((sql) => repair(sql, theirs), ours);
      expect(report).toMatchObject({ scanned: ours.length, rows_skipped: { manual_precedence: 1 } });
    });
  });

  test('that overlap, in opposite order, 200 times, neither deadlock nor lose a version', async () => {
    const rounds = 200;
    const ids = Array.from({ length: 30 }, (_, index) => index + 1);
    await shelveRows(
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
