// Moving into production: what is there stays as it is, and the first run finds that nothing has changed.
import { beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { startStandIn } from '../../src/demo/stand-in.js';
import { createProduction } from '../support/adoption.js';
import { cli, type Ended } from '../support/cli.js';
import { type TestDatabase, useDatabase, useLogin } from '../support/database.js';
import {
  BROADCAST,
  CAN,
  CAT_POWER,
  COCTEAU_TWINS,
  confirmEverything,
  NEU,
  NINA_SIMONE,
  STEREOLAB,
  SUN_RA,
  stationRows,
  THE_FALL,
  YO_LA_TENGO,
} from '../support/production.js';
import { type SystemCatalogue, systemCatalogue } from '../support/repository.js';

// No superuser: a login that owns the station's tables and may create schemas.
const owner = useLogin();

const RECORDS = 300;
const NEW_COLUMNS = ['discogs_artist_id', 'musicbrainz_artist_id', 'bandcamp_id'];

describe('a production database', () => {
  const production = useDatabase(() => createProduction(owner, RECORDS));
  let before: Awaited<ReturnType<typeof station>>;
  let after: typeof before;

  beforeAll(async () => {
    before = await station(production);
    await migrate(owner.into(production));
    after = await station(production);
  });

  test('gains three columns and room for updates, and is otherwise shaped as it was', () => {
    const expected = structuredClone(before.shape) as Record<string, { columns: object[]; options: unknown }>;
    for (const table of ['library_identity', 'library_identity_history']) {
      const [integer, text] = ['integer', 'text'].map((type) => ({
        type,
        not_null: false,
        identity: '',
        generated: '',
        default: null,
        grants: null,
        comment: null,
      }));
      expected[`table wxyc_schema.${table}`]!.columns.push(
        { name: 'discogs_artist_id', ...integer },
        { name: 'musicbrainz_artist_id', ...text },
        { name: 'bandcamp_id', ...text },
      );
    }
    expected['table wxyc_schema.library_identity']!.options = ['fillfactor=50'];
    expect(after.shape).toEqual(expected);
  });

  test('has no table or index rewritten', () => {
    expect(after.files).toEqual(before.files);
  });

  test('keeps every value that was in it', () => {
    expect(after.rows).toEqual(before.rows);
  });

  test.each([
    ["LML's source rows", STEREOLAB, 388, '7e22ed0f-4a8e-4a0d-8e5c-e9e5a3dd9bd2', 'stereolab'],
    ["LML's source rows beside other writers' columns", CAT_POWER, 31506, null, null],
    ['no source row of another writer', YO_LA_TENGO, null, null, null],
    ['no Discogs id that is no number', SUN_RA, null, null, null],
    ['nothing for a row of another writer', THE_FALL, null, null, null],
  ])('has the new columns filled from %s', async (_whose, id, discogs, musicbrainz, bandcamp) => {
    const [identity] = await production.sql`
      select discogs_artist_id, musicbrainz_artist_id, bandcamp_id
      from wxyc_schema.library_identity where library_id = ${id}`;
    expect(identity).toEqual({
      discogs_artist_id: discogs,
      musicbrainz_artist_id: musicbrainz,
      bandcamp_id: bandcamp,
    });
  });

  test('has them filled for the many as well', async () => {
    const filled = await production.sql`
      select library_id from wxyc_schema.library_identity
      where discogs_artist_id = library_id and musicbrainz_artist_id = md5('musicbrainz ' || library_id)`;
    expect(filled.count).toBe(RECORDS);
  });

  test('makes its marks attempts, where no identity is newer', async () => {
    const attempts = await production.sql`
      select attempt.library_id, outcome, attempted_at = library.unresolved_attempted_at as at_its_time
      from identity_sync.attempt join wxyc_schema.library on library.id = attempt.library_id
      order by attempt.library_id`;
    expect([...attempts]).toEqual([
      { library_id: COCTEAU_TWINS, outcome: 'unresolved', at_its_time: true },
      { library_id: NEU, outcome: 'unresolved', at_its_time: true },
    ]);
  });

  test('is left as it is by a second migration', async () => {
    const everything = async () => ({
      catalogue: await systemCatalogue(production.sql),
      station: await stationRows(production.sql),
      attempts: [...(await production.sql`select * from identity_sync.attempt order by library_id`)],
      migrations: [...(await production.sql`select * from graphile_migrate.migrations order by filename`)],
    });
    const migrated = await everything();
    await migrate(owner.into(production));
    expect(await everything()).toEqual(migrated);
  });

  describe('whose first run hears from LML what it said before', () => {
    let ended: Ended;
    let rows: Record<string, unknown[]>;
    let asked: number[];

    beforeAll(async () => {
      const { sql } = production;
      rows = await stationRows(sql, ['last_verified_at']);
      const lml = await startStandIn({ identities: new Map(), answer: confirmEverything(sql) });
      ended = await cli(['run'], { DATABASE_URL: owner.into(production), LIBRARY_METADATA_URL: lml.url });
      asked = [...lml.askedIds().keys()];
      await lml.close();
    });

    test('finds nothing different', () => {
      expect(ended.status).toBe(0);
      expect(JSON.parse(ended.stdout)).toMatchObject({
        outcome: 'completed',
        planned: RECORDS + 8,
        scanned: RECORDS + 8,
        rows_resolved: RECORDS + 5,
        rows_unresolved: 1,
        rows_skipped: { manual_precedence: 2 },
        identity: { inserted: 0, changed: 0, unchanged: RECORDS + 5 },
        source: { inserted: 0, changed: 0, removed: 0, unchanged: RECORDS * 4 + 11 },
        quarantined: 0,
      });
    });

    test('moves the time of verification, and no other value of anybody', async () => {
      expect(await stationRows(production.sql, ['last_verified_at'])).toEqual(rows);
      const confirmed = await production.sql`
        select library_id from wxyc_schema.library_identity
        where last_verified_at > now() - interval '1 day' and notes = 'consumer:lml-bulk'`;
      expect(confirmed.count).toBe(RECORDS + 5);
    });

    test('writes no history', async () => {
      const { sql } = production;
      const history = await sql`select superseded_reason from wxyc_schema.library_identity_history`;
      expect([...history]).toEqual([{ superseded_reason: 'rotation 2025-09' }]);
      expect(await sql`select from identity_sync.superseded_source`).toHaveLength(0);
    });

    test('asks for no row again that was asked without success last week', () => {
      expect(asked).not.toContain(COCTEAU_TWINS);
      expect(asked).not.toContain(NEU);
      expect(asked).toContain(CAN);
    });

    test('leaves rows set by hand to the hand', async () => {
      const held = await production.sql`
        select library_id, outcome from identity_sync.attempt
        where library_id in (${BROADCAST}, ${NINA_SIMONE}) order by library_id`;
      expect([...held]).toEqual([
        { library_id: BROADCAST, outcome: 'manual_precedence' },
        { library_id: NINA_SIMONE, outcome: 'manual_precedence' },
      ]);
    });
  });
});

describe('a production database whose library has no unresolved_attempted_at', () => {
  // What the predecessor may have stored as a Discogs id, and the column's value.
  const STORED: [string, number | null][] = [
    ['388', 388],
    ['999999999', 999999999],
    ['99999999999', null],
    ['0', null],
    ['-5', null],
    ['12.5', null],
    [' 388', null],
    ['388\n', null],
    ['0x1F', null],
    ['٣٨٨', null],
    ['', null],
  ];
  const production = useDatabase(() => createProduction(owner, STORED.length));

  beforeAll(async () => {
    await production.sql`alter table wxyc_schema.library drop column unresolved_attempted_at`;
    for (const [index, [stored]] of STORED.entries()) {
      await production.sql`
        update wxyc_schema.library_identity_source set external_id = ${stored}
        where library_id = ${index + 1} and source = 'discogs'`;
    }
    await migrate(owner.into(production));
  });

  test('is moved into without marks', async () => {
    expect(await production.sql`select from identity_sync.attempt`).toHaveLength(0);
  });

  test('has NULL for each Discogs id that is no number', async () => {
    const filled = await production.sql`
      select discogs_artist_id from wxyc_schema.library_identity
      where library_id <= ${STORED.length} order by library_id`;
    expect(STORED.map(([stored], index) => [stored, filled[index]!.discogs_artist_id])).toEqual(STORED);
  });
});

test('two processes may move in at once: both succeed, and it is done once', async () => {
  const production = await createProduction(owner, 1);
  try {
    const before = await station(production);
    const settings = { DATABASE_URL: owner.into(production) };
    const ended = await Promise.all([cli(['migrate'], settings), cli(['migrate'], settings)]);
    expect(ended).toMatchObject([{ status: 0 }, { status: 0 }]);
    const after = await station(production);
    expect(after.rows).toEqual(before.rows);
    const attempts = await production.sql`select library_id from identity_sync.attempt order by library_id`;
    expect([...attempts]).toEqual([{ library_id: COCTEAU_TWINS }, { library_id: NEU }]);
  } finally {
    await production.drop();
  }
});

/** The station's part of the database: its shape, the files that its relations lie in, and its rows. */
async function station({ sql }: TestDatabase) {
  const catalogue = Object.entries(await systemCatalogue(sql));
  const own = catalogue.filter(([identity]) => !/\b(identity_sync\w*|graphile_\w+)\b/.test(identity));
  const files = await sql`
    select relname, relfilenode from pg_class
    where relnamespace = 'wxyc_schema'::regnamespace and relkind <> 'v' order by relname`;
  return {
    shape: Object.fromEntries(own) as SystemCatalogue,
    files: [...files],
    rows: await stationRows(sql, NEW_COLUMNS),
  };
}
