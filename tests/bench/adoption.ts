// What moving into production costs at its size, on both ends of the supported range: npx tsx tests/bench/adoption.ts
// 50,000 identities with four source rows each; then a first run in which LML says what it said before, so that not one
// value may change and no history may be written. Exits with 1 where one did.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { startStandIn } from '../../src/demo/stand-in.js';
import { buildProduction, confirmEverything } from '../support/production.js';

const RECORDS = Number(process.argv[2] ?? 50_000);
const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));

for (const version of [14, 18] as const) {
  const server = await startEmbeddedPostgres({ version });
  try {
    console.log(`PostgreSQL ${version}`);
    console.table(await moveIn(server.url));
  } finally {
    await server.stop();
  }
}

async function moveIn(serverUrl: string) {
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
  await admin`create role station login password 'station'`;
  await admin`create database production`;
  await admin`grant create on database production to station`;
  await admin.end();

  const url = Object.assign(new URL(serverUrl), { pathname: 'production' });
  const sql = postgres(url.href, { max: 2, onnotice: () => {} });
  const ownerUrl = Object.assign(url, { username: 'station', password: 'station' }).href;
  const owner = postgres(ownerUrl, { max: 1, onnotice: () => {} });
  await buildProduction(owner, RECORDS);
  await owner.end();

  const before = await fingerprint(sql);
  const station = watch(sql);
  const migrated = await measure(sql, () => migrate(ownerUrl));
  const longestWait = await station.end();

  const filled = await sql`select from wxyc_schema.library_identity where discogs_artist_id is not null`;
  const adopted = await fingerprint(sql);
  const lml = await startStandIn({ identities: new Map(), answer: confirmEverything(sql) });
  const ran = await measure(sql, () =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', CLI, 'run'], {
      env: {
        PATH: process.env.PATH,
        DATABASE_URL: ownerUrl,
        LIBRARY_METADATA_URL: lml.url,
        THROTTLE_MS: '0',
      },
    }),
  );
  const report = JSON.parse(ran.result.stdout) as {
    scanned: number;
    identity: Record<string, number>;
  };
  await lml.close();
  const after = await fingerprint(sql);
  const superseded = await sql`select from identity_sync.superseded_source`;
  await sql.end();

  const changed = before.station !== adopted.station || adopted.all !== after.all;
  if (changed || superseded.count > 0) process.exitCode = 1;
  return {
    identities: before.identities,
    'source rows': before.sources,
    'migrate, s': migrated.seconds,
    'migrate, MB of WAL': migrated.megabytes,
    'longest wait of a query of the station meanwhile, ms': longestWait,
    'Discogs columns filled': filled.count,
    'first run, s': ran.seconds,
    'first run, MB of WAL': ran.megabytes,
    'rows asked': report.scanned,
    'identities confirmed': report.identity.unchanged,
    'identities changed': report.identity.changed,
    'source rows superseded': superseded.count,
    'values or history changed': changed,
  };
}

/** Hashes of the identity tables, history included: of what the station had, and of all but the time of verification. */
async function fingerprint(sql: postgres.Sql) {
  const added = ['discogs_artist_id', 'musicbrainz_artist_id', 'bandcamp_id'];
  const [row] = await sql<[{ identities: number; sources: number; station: string; all: string }]>`
    with stored as (
      select 1 as kind, library_id as id, '' as source, to_jsonb(known) as content
      from wxyc_schema.library_identity as known
      union all
      select 2, library_id, source, to_jsonb(known) from wxyc_schema.library_identity_source as known
      union all
      select 3, history_id, '', to_jsonb(known) from wxyc_schema.library_identity_history as known
    )
    select
      count(*) filter (where kind = 1)::integer as identities,
      count(*) filter (where kind = 2)::integer as sources,
      md5(string_agg(md5((content - ${added}::text[])::text), '' order by kind, id, source)) as station,
      md5(string_agg(md5((content - 'last_verified_at')::text), '' order by kind, id, source)) as all
    from stored`;
  return row;
}

/** The station at its work: one query of an identity after another, until its end is called; returns the longest in ms. */
function watch(sql: postgres.Sql) {
  let longest = 0;
  let over = false;
  const watching = (async () => {
    while (!over) {
      const started = performance.now();
      await sql`select spotify_id from wxyc_schema.library_identity where library_id = 1`;
      longest = Math.max(longest, performance.now() - started);
    }
  })();
  return {
    async end() {
      over = true;
      await watching;
      return Math.round(longest);
    },
  };
}

async function measure<Result>(sql: postgres.Sql, work: () => Promise<Result>) {
  const written = async () => {
    const [row] = await sql<
      [{ bytes: string }]
    >`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as bytes`;
    return Number(row.bytes);
  };
  const bytes = await written();
  const started = performance.now();
  const result = await work();
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  return { result, seconds, megabytes: Math.round(((await written()) - bytes) / 1e6) };
}
