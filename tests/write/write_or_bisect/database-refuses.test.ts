// What the database refuses, because of another service's constraint or trigger, costs the verdict at fault and no other.
// What it cannot do, through no verdict's fault, costs the whole call, so that the caller can try again.
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

/** Has a trigger of the station's do something to each row that is written for certain libraries. */
const trigger = (body: string, table: string, culprits: number[], kind = 'trigger') => `
  create function station.object() returns trigger language plpgsql as $$
  begin
    if new.library_id in (${culprits}) then
      ${body}
    end if;
    return new;
  end $$;
  create ${kind} object after insert or update on wxyc_schema.${table}
  ${kind === 'trigger' ? '' : 'deferrable initially deferred'} for each row execute function station.object();`;

const constraint = (table: string, culprits: number[]) => `
  create function station.approves(id integer) returns boolean language sql return id not in (${culprits});
  alter table wxyc_schema.${table} add constraint station_approves check (station.approves(library_id)) not valid;`;

type Objection = [what: string, ddl: (culprits: number[]) => string, refusal: Fields];

const violation = (table: string) => ({
  sqlstate: '23514',
  message: `new row for relation "${table}" violates check constraint "station_approves"`,
  constraint_name: 'station_approves',
});
const objection = { sqlstate: 'P0001', message: 'the station objects', constraint_name: null };

const OBJECTIONS: Objection[] = [
  ...['library_identity', 'library_identity_source', 'library_identity_history'].map(
    (table): Objection => [
      `a constraint of ${table}`,
      (culprits) => constraint(table, culprits),
      violation(table),
    ],
  ),
  ...['library_identity', 'library_identity_source', 'library_identity_history'].map(
    (table): Objection => [
      `a trigger of ${table}`,
      (culprits) => trigger(`raise 'the station objects';`, table, culprits),
      objection,
    ],
  ),
  [
    'a constraint that would speak only at the commit',
    (culprits) => trigger(`raise 'the station objects';`, 'library_identity', culprits, 'constraint trigger'),
    objection,
  ],
  [
    'a constraint that names itself',
    (culprits) =>
      trigger(
        `raise 'not on the playlist' using errcode = '23P01', constraint = 'playlist', detail = 'at all';`,
        'library_identity',
        culprits,
      ),
    { sqlstate: '23P01', message: 'not on the playlist', constraint_name: 'playlist' },
  ],
  [
    'an assertion',
    (culprits) => trigger(`assert false, 'this cannot be';`, 'library_identity', culprits),
    { sqlstate: 'P0004', message: 'this cannot be', constraint_name: null },
  ],
  [
    'a mistake in a trigger',
    (culprits) => trigger('perform 1 / 0;', 'library_identity_source', culprits),
    { sqlstate: '22012', message: 'division by zero', constraint_name: null },
  ],
  [
    'a trigger that raises what a caller could take for a duplicate',
    (culprits) => trigger(`raise unique_violation;`, 'library_identity', culprits),
    { sqlstate: '23505', message: 'unique_violation', constraint_name: null },
  ],
];

describe.each(OBJECTIONS)('%s', (_, ddl, refusal) => {
  const verdicts = [SANGOMA, DILATE, ERASER].map((id) => ({
    ...withMain(singleArtist(id), { discogs_artist_id: 5 }),
    provenance: [leg('discogs', '5')],
  }));

  beforeEach(async () => {
    await writer.service([singleArtist(DILATE), singleArtist(SANGOMA), singleArtist(ERASER)]);
    await writer.sql.unsafe(ddl([DILATE]));
  });

  test('costs the verdict that it means, and is recorded in its words', async () => {
    const identity = await writer.identity(DILATE);
    const sources = await writer.sources(DILATE);

    const report = await writer.service(verdicts, { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({
        rows_resolved: 2,
        rows_skipped: { writer_error: 1 },
        identity: { changed: 2 },
        source: { changed: 2, removed: 2 },
      }),
    );
    expect(await writer.identity(DILATE)).toEqual(identity);
    expect(await writer.sources(DILATE)).toEqual(sources);
    expect(await writer.history(DILATE)).toEqual([]);
    expect(await writer.superseded(DILATE)).toEqual([]);
    for (const id of [SANGOMA, ERASER]) {
      expect(await writer.identity(id)).toMatchObject({ discogs_artist_id: 5, last_verified_at: TUESDAY });
      expect(Object.keys(await writer.sources(id))).toEqual(['discogs']);
      expect(await writer.history(id)).toHaveLength(1);
    }
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'writer_error', attempted_at: TUESDAY },
    ]);
    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      library_id: DILATE,
      outcome: 'writer_error',
      reason: `the database refused it: ${refusal.message}`,
      path: null,
      value: null,
      ...refusal,
      origin: SERVICE,
      verified_at: TUESDAY,
    });
    expect(JSON.parse(entry!.verdict as string)).toEqual(verdicts[1]);
  });
});

describe('of 500 verdicts', () => {
  const ids = Array.from({ length: 500 }, (_, index) => index + 1);

  beforeEach(() =>
    shelveRows(
      writer.sql,
      ids.map((id) => ({ id })),
    ),
  );

  test.each([
    ['one culprit', [250]],
    ['the first one', [1]],
    ['the last one', [500]],
    ['five culprits', [1, 2, 250, 373, 500]],
  ])('all others are written: %s', async (_, culprits) => {
    await writer.sql.unsafe(constraint('library_identity', culprits));

    const report = await writer.service(ids.map((id) => singleArtist(id)));

    const others = 500 - culprits.length;
    expect(report).toEqual(
      reported({
        rows_resolved: others,
        rows_skipped: { writer_error: culprits.length },
        identity: { inserted: others },
        source: { inserted: 2 * others },
      }),
    );
    expect(await writer.sql`select from wxyc_schema.library_identity`).toHaveLength(others);
    expect(await writer.quarantine()).toMatchObject(culprits.map((library_id) => ({ library_id })));
    const [settlement] = await writer.sql`select inserted_ids from identity_sync.settlement`;
    expect(settlement!.inserted_ids.toSorted((a: number, b: number) => a - b)).toEqual(
      ids.filter((id) => !culprits.includes(id)),
    );
  });

  test('none is written where the database refuses them all, and each has its reason', async () => {
    await writer.sql.unsafe(constraint('library_identity', ids));

    const report = await writer.service(ids.map((id) => singleArtist(id)));

    expect(report).toEqual(reported({ rows_skipped: { writer_error: 500 } }));
    expect(await writer.quarantine()).toHaveLength(500);
    expect(await writer.attempts()).toHaveLength(500);
  });
});

test('a refusal that stays is refused again, and the latest one is open', async () => {
  await writer.sql.unsafe(constraint('library_identity', [DILATE]));
  await writer.service([singleArtist(DILATE)]);
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  expect(await writer.quarantine()).toMatchObject([{ library_id: DILATE, verified_at: TUESDAY }]);
});

test('a constraint that the caller’s transaction has deferred is heard, too', async () => {
  await writer.sql.unsafe(
    trigger(`raise 'the station objects';`, 'library_identity', [DILATE], 'constraint trigger'),
  );
  const { sql } = await writer.session();
  await sql`begin`;
  await sql`set constraints all deferred`;
  const [row] = await sql`
    select identity_sync.apply_identity_verdicts(${JSON.stringify(singleArtist(DILATE))}::text::jsonb) as report`;
  await sql`commit`;
  expect(row!.report).toEqual(reported({ rows_skipped: { writer_error: 1 } }));
});

describe('through no verdict’s fault', () => {
  test.each([
    ['08006', 'a connection fails'],
    ['40001', 'a transaction cannot be serialised'],
    ['40P01', 'a deadlock'],
    ['53100', 'the disk is full'],
    ['53200', 'memory is short'],
    ['55P03', 'a lock is not to be had'],
    ['57014', 'somebody cancels the statement'],
    ['57P01', 'an administrator shuts down'],
    ['58030', 'the disk fails'],
  ])('%s passes through, and nothing is written or remembered: %s', async (sqlstate) => {
    await writer.service([singleArtist(DILATE)]);
    await writer.sql.unsafe(
      trigger(`raise 'not now' using errcode = '${sqlstate}';`, 'library_identity', [ERASER]),
    );
    const before = await writer.everything();
    const [{ settlements }] = await writer.sql<[{ settlements: number }]>`
      select count(*)::integer as settlements from identity_sync.settlement`;
    const verdicts = [
      withMain(singleArtist(DILATE), { discogs_artist_id: 5 }),
      singleArtist(SANGOMA),
      singleArtist(ERASER),
      singleArtist(NEW_AMERYKAH, { kind: 'artist' }),
    ];

    await expect(writer.service(verdicts, { verifiedAt: TUESDAY })).rejects.toMatchObject({
      code: sqlstate,
      message: 'not now',
    });

    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
    expect(await writer.sql`select from identity_sync.settlement`).toHaveLength(settlements);
  });

  test('what stops one half stops the other, although that one holds a culprit', async () => {
    await writer.sql.unsafe(
      trigger(
        `if new.library_id = ${ERASER} then raise 'not now' using errcode = '40P01'; end if;
         raise 'the station objects';`,
        'library_identity',
        [DILATE, ERASER],
      ),
    );
    const verdicts = [DILATE, SANGOMA, NEW_AMERYKAH, ERASER].map((id) => singleArtist(id));

    await expect(writer.service(verdicts, { verifiedAt: MONDAY })).rejects.toMatchObject({ code: '40P01' });

    expect(await writer.sql`select from wxyc_schema.library_identity`).toHaveLength(0);
    expect(await writer.quarantine()).toEqual([]);
  });
});

describe('for a reason that all verdicts share', () => {
  const ids = Array.from({ length: 40 }, (_, index) => index + 101);
  const verdicts = ids.map((id) => singleArtist(id));

  beforeEach(() =>
    shelveRows(
      writer.sql,
      ids.map((id) => ({ id })),
    ),
  );

  const FAULTS: [what: string, ddl: string, code: string, undo?: string][] = [
    [
      'a column that is gone',
      'alter table wxyc_schema.library_identity rename discogs_artist_id to lost',
      '42703',
      'alter table wxyc_schema.library_identity rename lost to discogs_artist_id',
    ],
    [
      'a table that is gone',
      'alter table wxyc_schema.library_identity_source rename to lost',
      '42P01',
      'alter table wxyc_schema.lost rename to library_identity_source',
    ],
    [
      'a trigger that finds no table under our search_path',
      trigger('perform 1 from station_log;', 'library_identity', ids),
      '42P01',
    ],
    [
      'a trigger that finds no function under our search_path',
      trigger('perform note(new.library_id);', 'library_identity_source', ids),
      '42883',
    ],
    [
      'a trigger that does what is not supported',
      trigger(`raise 'not here' using errcode = '0A000';`, 'library_identity', ids),
      '0A000',
    ],
    [
      'a limit of the program',
      trigger(`raise 'too complex' using errcode = '54001';`, 'library_identity', ids),
      '54001',
    ],
    [
      'a table that is damaged',
      trigger(`raise 'damaged' using errcode = 'XX001';`, 'library_identity', ids),
      'XX001',
    ],
  ];

  test.each(FAULTS)('no verdict is charged: %s', async (_, ddl, code, undo = '') => {
    onTestFinished(async () => {
      await writer.sql.unsafe(undo);
    });
    await writer.sql.unsafe(ddl);

    await expect(writer.service(verdicts)).rejects.toMatchObject({ code });
    await expect(writer.service(verdicts.slice(0, 2))).rejects.toMatchObject({ code });

    await writer.sql.unsafe(undo);
    undo = '';
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
    expect(await writer.sql`select from identity_sync.settlement`).toHaveLength(0);
  });

  test('the database is not asked once for each of them', async () => {
    await writer.sql.unsafe('create sequence station.tries');
    await writer.sql.unsafe(
      trigger(
        `perform nextval('station.tries'); raise 'no such table' using errcode = '42P01';`,
        'library_identity',
        ids,
      ),
    );
    await expect(writer.service(verdicts)).rejects.toMatchObject({ code: '42P01' });
    const [tries] = await writer.sql`select last_value::integer as made from station.tries`;
    expect(tries!.made).toBeLessThan(15);
  });

  test.each([
    ['one verdict is not refused', ids.slice(1)],
    ['every second one is refused', ids.filter((id) => id % 2 === 0)],
    ['one is refused', [120]],
  ])('each verdict that is refused is charged where %s', async (_, culprits) => {
    await writer.sql.unsafe(trigger('perform 1 from station_log;', 'library_identity', culprits));
    const report = await writer.service(verdicts);
    const others = ids.length - culprits.length;
    expect(report).toMatchObject({ rows_resolved: others, rows_skipped: { writer_error: culprits.length } });
    expect((await writer.attempts()).map(({ library_id }) => library_id)).toEqual(culprits);
  });

  test.each(['repeatable read', 'serializable'])(
    'no verdict is charged where another session wrote them, unseen by a transaction that is %s, which else writes them',
    async (level) => {
      const { sql } = await writer.session();
      const body = JSON.stringify(verdicts);
      await sql.unsafe(`begin isolation level ${level}`);
      const [row] = await sql`select identity_sync.apply_identity_verdicts(${body}::text::jsonb) as report`;
      expect(row!.report).toMatchObject({ rows_resolved: 40 });
      await sql`rollback`;

      await sql.unsafe(`begin isolation level ${level}`);
      await sql`select count(*) from wxyc_schema.library_identity`;
      await writer.service(verdicts);
      await expect(
        sql`select identity_sync.apply_identity_verdicts(${body}::text::jsonb)`,
      ).rejects.toMatchObject({ code: '40001' });
      await sql`rollback`;
      expect(await writer.attempts()).toEqual([]);
      expect(await writer.quarantine()).toEqual([]);
    },
  );
});
