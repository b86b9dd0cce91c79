// `identity-sync run --dry-run`: everything happens, and nothing is written.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, shelve, shelveRealRecords } from '../support/catalogue.js';
import { cli, type Ended, killLeftovers, logOf } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let lml: StandIn;
let refused: number;
let before: Record<string, string>;
let ended: Ended;

beforeAll(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities: loadIdentities() });

  // A stock of real records, of which one has an identity already, and one that the database would refuse.
  await shelveRealRecords(database.sql, (_, index) => index >= 2600 && index < 2900);
  refused = await shelve(database.sql, { artist: 'Juana Molina', title: 'refused' });
  await database.sql.unsafe(`
    alter table wxyc_schema.library_identity add constraint refused check (library_id <> ${refused});
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    select id, 'exact_match', 1, '2020-01-01' from wxyc_schema.library where artist_name = 'A Tribe Called Quest';
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name) values (${refused}, 'Juana Molina')`);

  before = await hashes();
  ended = await cli(['run', '--dry-run', '--batch-size', '100'], settings());
});

afterAll(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

test('exits with 0, and prints one JSON object of the locked shape', () => {
  expect(ended.status).toBe(0);
  const count = expect.any(Number);
  expect(JSON.parse(ended.stdout)).toEqual({
    scanned: 301,
    lml_total_calls: lml.calls.length,
    lml_total_latency_ms: count,
    would_resolve: count,
    would_resolve_compilation: 0,
    would_unresolved: count,
    would_skip: {
      compilation: count,
      lml_error: 0,
      writer_error: 1,
      lml_cardinality_mismatch: 0,
      lml_untrusted_library_id: 0,
      invalid_verdict: 0,
      manual_precedence: 0,
      stale_verdict: 0,
      library_gone: 0,
      poison_input: 0,
    },
    source_rows_skipped_null_confidence: count,
  });
});

test('names its run on standard error', () => {
  for (const line of logOf(ended)) expect(line).toMatchObject({ run_id: 1 });
  expect(logOf(ended).at(-1)!.msg).toMatch(/^dry run 1 /);
});

test('leaves every row and catalogue entry outside its own ledger as it was', async () => {
  expect(await hashes()).toEqual(before);
});

test('leaves no mark and no quarantine, and everything due', async () => {
  for (const table of ['attempt', 'quarantined_verdict', 'superseded_source']) {
    expect(await database.sql`select from identity_sync.${database.sql(table)}`).toHaveLength(0);
  }
  expect(await candidates(database.sql)).toHaveLength(301);
});

test('foretells what the real run then does, down to what the database refuses', async () => {
  const foretold = JSON.parse(ended.stdout);
  const real = await cli(['run', '--batch-size', '100'], settings());
  const report = JSON.parse(real.stdout);

  expect(report).toMatchObject({
    run_id: 2,
    scanned: foretold.scanned,
    rows_resolved: foretold.would_resolve,
    rows_resolved_compilation: foretold.would_resolve_compilation,
    rows_unresolved: foretold.would_unresolved,
    rows_skipped: foretold.would_skip,
    source_rows_skipped_null_confidence: foretold.source_rows_skipped_null_confidence,
  });
  expect(foretold.would_resolve).toBeGreaterThan(30);
  expect(await candidates(database.sql)).toEqual([]);
});

test('is what DRY_RUN asks for as well', async () => {
  const parameters = { DRY_RUN: 'True', RECHECK: '1' };
  expect(JSON.parse((await cli(['run'], { ...settings(), ...parameters })).stdout)).toHaveProperty(
    'would_resolve',
  );
});

function settings() {
  return { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url };
}

const DATABASE = 'select oid from pg_database where datname = current_database()';

/** A hash of each of the station's tables, and of each catalogue that holds definitions. */
async function hashes(): Promise<Record<string, string>> {
  const tables = await database.sql.unsafe<{ name: string }[]>(`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_type = 'BASE TABLE'
      and table_schema not in ('pg_catalog', 'information_schema', 'identity_sync', 'graphile_worker', 'graphile_migrate')
    union all
    select * from unnest(array[
      'pg_attribute', 'pg_attrdef', 'pg_constraint', 'pg_index', 'pg_namespace', 'pg_proc', 'pg_trigger', 'pg_type',
      'pg_default_acl', 'pg_policy', 'pg_rewrite', 'pg_description',
      '(select oid, relname, relnamespace, relkind, relowner, relacl, reloptions from pg_class)',
      -- Roles are the whole server's, where other tests make some meanwhile: those that this database knows.
      '(select * from pg_authid where oid in (select refobjid from pg_shdepend where dbid = (${DATABASE})))',
      '(select * from pg_db_role_setting where setdatabase = (${DATABASE}))'
    ])`);
  const hashed: Record<string, string> = {};
  for (const { name } of tables) {
    const [row] = await database.sql.unsafe(
      `select md5(coalesce(string_agg(entry::text, e'\\n' order by entry::text), '')) as hash from ${name} as entry`,
    );
    hashed[name] = row!.hash;
  }
  return hashed;
}
