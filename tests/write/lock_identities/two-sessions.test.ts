import { describe, expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  NEW_AMERYKAH,
  repair,
  reported,
  SANGOMA,
  SERVICE,
  service,
  singleArtist,
  TUESDAY,
  unresolved,
  untilBlocked,
  useWriter,
  WEDNESDAY,
  type Writer,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const better = withMain(singleArtist(DILATE), { discogs_artist_id: 5 });
const best = withMain(singleArtist(DILATE), { discogs_artist_id: 6 });

describe('two sessions that apply verdicts', () => {
  test('wait for each other, in whatever order they name their libraries', async () => {
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

  test.each([
    ['many and one', 0, 500],
    ['one and many', 500, 0],
  ])('wait as well where they write %s', async (_, from, instead) => {
    const many = Array.from({ length: 1_001 }, (_, index) => singleArtist(1_000_000 + index));
    const one = many.slice(500, 501);
    const [theirs, ours] = from < instead ? [many, one] : [one, many];
    await shelveRows(
      writer.sql,
      many.map(({ library_id }) => ({ id: library_id as number })),
    );
    const report = await writer.meanwhile((sql) => repair(sql, theirs), ours);
    expect(report).toMatchObject({ scanned: ours.length, rows_skipped: { manual_precedence: 1 } });
  });

  test('do not wait for a session that holds thousands of other libraries', async () => {
    const them = await writer.session();
    await them.sql`begin`;
    try {
      await repair(
        them.sql,
        Array.from({ length: 3_000 }, (_, index) => singleArtist(1_000_000 + index)),
      );
      expect(await writer.service([singleArtist(DILATE)])).toMatchObject({ rows_resolved: 1 });
    } finally {
      await them.sql`rollback`;
    }
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

describe('two answers that name the same library, which neither was asked for', () => {
  const refused = (id: number) => singleArtist(id, { kind: 'artist' });

  /** Each session applies its answer in a transaction; the second must wait for the first, which then commits. */
  async function inTurn(first: [asked: number[], named: number[]], second: typeof first) {
    const [them, us] = [await writer.session(), await writer.session()];
    const answer = (sql: typeof them.sql, [requested, named]: typeof first) =>
      service(
        sql,
        named.map((id) => singleArtist(id)),
        { requested },
      );
    await them.sql`begin`;
    const theirs = await answer(them.sql, first);
    const ours = answer(us.sql, second);
    await untilBlocked(writer.sql, us);
    await them.sql`commit`;
    return [theirs, await ours];
  }

  const untrusted = { rows_resolved: 1, rows_skipped: { lml_untrusted_library_id: 1 } };

  test('are both applied, and the library has one open entry', async () => {
    const reports = await inTurn([[DILATE], [DILATE, SANGOMA]], [[ERASER], [ERASER, SANGOMA]]);
    expect(reports).toMatchObject([untrusted, untrusted]);
    expect(await writer.quarantine()).toMatchObject([{ library_id: SANGOMA }]);
    expect(await writer.identity(SANGOMA)).toBeUndefined();
  });

  test('are both applied where each names what the other was asked for', async () => {
    await writer.service([refused(DILATE), refused(SANGOMA)]);
    const reports = await inTurn([[DILATE], [DILATE, SANGOMA]], [[SANGOMA], [SANGOMA, DILATE]]);
    expect(reports).toMatchObject([untrusted, untrusted]);
    expect([(await writer.identity(DILATE))?.notes, (await writer.identity(SANGOMA))?.notes]).toEqual([
      SERVICE,
      SERVICE,
    ]);
  });

  test('are both applied where they name several, in opposite order', async () => {
    const several = [SANGOMA, NEW_AMERYKAH, 987_654_321];
    const reports = await inTurn(
      [[DILATE], [DILATE, ...several]],
      [[ERASER], [ERASER, ...several.toReversed()]],
    );
    const three = { rows_resolved: 1, rows_skipped: { lml_untrusted_library_id: 3 } };
    expect(reports).toMatchObject([three, three]);
    expect(await writer.quarantine()).toHaveLength(3);
  });
});

describe('the libraries that are held', () => {
  const hold = (sql: Writer['sql'], from: number, count = 1_000, step = 1) =>
    sql`
      select identity_sync_private.lock_identities(
        array(select generate_series(${from}::integer, ${from}::integer + (${count}::integer - 1) * ${step}::integer, ${step}::integer)))`;

  /** What a session needs for a small piece of work of its own. */
  const locksInTable = async () => {
    const [row] = await writer.sql<[{ locks: number }]>`
      select count(*)::integer as locks
      from pg_locks
      join pg_stat_activity using (pid)
      where datname = current_database() and pid <> pg_backend_pid() and not fastpath`;
    return row.locks;
  };

  test('by 32 sessions, a thousand each and interleaved, leave the lock table to others', async () => {
    const sessions = await Promise.all(Array.from({ length: 32 }, () => writer.session()));
    for (const [index, { sql }] of sessions.entries()) {
      await sql`begin`;
      await hold(sql, 1 + index, 1_000, 32);
    }
    expect(await locksInTable()).toBeLessThan(32 * 10);

    const bystander = await writer.session();
    await bystander.sql`begin`;
    await bystander.sql`select pg_advisory_xact_lock(number) from generate_series(1, 3000) as number`;
    await bystander.sql`rollback`;

    const next = await writer.session();
    const waiting = hold(next.sql, 32_000, 1).execute();
    await untilBlocked(writer.sql, next);
    for (const { sql } of sessions) await sql`rollback`;
    await waiting;
  });

  test('by one transaction may be as many as it likes, batch after batch', async () => {
    const { sql } = await writer.session();
    await sql`begin`;
    for (let batch = 0; batch < 20; batch++) {
      const ids = Array.from({ length: 1_000 }, (_, index) => 1_000_000 + batch * 1_000 + index);
      const report = await service(
        sql,
        ids.map((id) => unresolved(id)),
      );
      expect(report).toMatchObject({ scanned: 1_000 });
    }
    expect(await locksInTable()).toBeLessThan(100);
    await sql`rollback`;
  });

  test('may be held twice by one transaction, and go with a part of it that is rolled back', async () => {
    const [them, us] = [await writer.session(), await writer.session()];
    await them.sql`begin`;
    await hold(them.sql, 1, 10);
    await them.sql`savepoint here`;
    await hold(them.sql, 5, 100);
    await them.sql`rollback to savepoint here`;
    await hold(us.sql, 50, 10);
    const waiting = hold(us.sql, 10, 1).execute();
    await untilBlocked(writer.sql, us);
    await them.sql`rollback`;
    await waiting;
  });

  test('may be the last that an integer can name, and none, which holds up no other session', async () => {
    const [them, us] = [await writer.session(), await writer.session()];
    await them.sql`begin`;
    await them.sql`select identity_sync_private.lock_identities('{null}'), identity_sync_private.lock_identities('{}')`;
    await us.sql`select identity_sync_private.lock_identities('{null,2147483647,-2147483648}')`;
    await them.sql`select identity_sync_private.lock_identities('{2147483647}')`;
    const waiting = us.sql`select identity_sync_private.lock_identities('{2147483647}')`.execute();
    await untilBlocked(writer.sql, us);
    await them.sql`rollback`;
    await waiting;
  });

  test('leave no row behind', async () => {
    await hold(writer.sql, 1);
    expect(await writer.sql`select from identity_sync.library_lock`).toEqual([]);
  });

  test('are named to an operator who waits for too long, with the session that holds them', async () => {
    const [them, us] = [await writer.session(), await writer.session()];
    await them.sql`begin`;
    await hold(them.sql, DILATE, 1);
    await us.sql`set lock_timeout = '50ms'`;
    await expect(hold(us.sql, DILATE, 1)).rejects.toMatchObject({
      code: '55P03',
      message: 'another session is writing some of these libraries',
      detail: `Sessions that are writing libraries: ${them.pid}.`,
    });
    await them.sql`rollback`;
  });
});
