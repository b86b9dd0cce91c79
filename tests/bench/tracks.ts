// `npx tsx tests/bench/tracks.ts [14|18]`: what it costs to apply an answer about compilations, beside the bare UPDATE of
// the same rows from typed staging. Variants take turns, each in a fresh copy of a template; medians over the rounds.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type postgres from 'postgres';
import { type Database, type Measurement, moveIn, startServer } from './server.js';

const RELEASES = 100;
const CREDITS = 483;
const ROWS = RELEASES * CREDITS;
const ROUNDS = 5;
// What else the table holds: about 6,300 compilations of 56 credits are in production.
const OTHER_RELEASES = 6200;
const OTHER_CREDITS = 56;

const UPDATE = 'bare UPDATE';
const FIRST = 'apply, first';
const AGAIN = 'apply, unchanged';

const version = process.argv[2] === '14' ? 14 : 18;
const server = await startServer(version);
try {
  await server.template('tracks', null, async (database) => {
    await moveIn(database);
    await fillCredits(database.sql);
    await database.sql`create table answer as select ${await answerOf(database.sql)}::text as body`;
  });
  const measured: Record<string, Measurement[]> = { [UPDATE]: [], [FIRST]: [], [AGAIN]: [] };
  let megabytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of [UPDATE, FIRST]) {
      const database = await server.clone('tracks');
      try {
        const [{ body }] = await database.sql<[{ body: string }]>`select body from answer`;
        megabytes = Buffer.byteLength(body) / 1e6;
        await warmUp(database.sql);
        const work = name === UPDATE ? () => update(database.sql) : () => apply(database.sql, body);
        measured[name]!.push(await timed(database, work));
        if (name === FIRST) measured[AGAIN]!.push(await timed(database, work));
      } finally {
        await database.drop();
      }
    }
  }
  print(megabytes, measured);
} finally {
  await server.stop();
}

function print(megabytes: number, measured: Record<string, Measurement[]>): void {
  console.log(
    `PostgreSQL ${server.version}: ${RELEASES} releases of ${CREDITS} credits, ${megabytes.toFixed(1)} MB of JSON`,
  );
  const rate = (name: string, of: (one: Measurement) => number) => ROWS / median(measured[name]!.map(of));
  const elapsed = (one: Measurement) => one.seconds;
  const processor = (one: Measurement) => one.serverCpuSeconds ?? Number.NaN;
  for (const [name, all] of Object.entries(measured)) {
    const wal = median(all.map((one) => one.walBytes / ROWS));
    console.log(
      `${name.padEnd(18)} ${Math.round(rate(name, elapsed))} rows/s, ${Math.round(rate(name, processor))} a second of ` +
        `the server's processors, ${Math.round(wal)} bytes of WAL a row`,
    );
  }
  const ratio = (of: (one: Measurement) => number) => (rate(FIRST, of) / rate(UPDATE, of)).toFixed(2);
  console.log(`The first application reaches ${ratio(elapsed)} of the bare UPDATE's rows a second,`);
  console.log(
    `and ${ratio(processor)} by the time of the server's processors, which a busy machine blurs less.`,
  );
}

/** Real names and titles of the station's catalogue; production knows the position of 22 % of its credits. */
async function fillCredits(sql: postgres.Sql): Promise<void> {
  const dump = gunzipSync(
    readFileSync(new URL('../../src/demo/data/library.tsv.gz', import.meta.url)),
  ).toString();
  const records = dump
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
  const artists = [...new Set(records.map((record) => record[3]!))].filter((name) => name.trim() !== '');
  const titles = [...new Set(records.map((record) => record[4]!))];
  await sql`insert into wxyc_schema.artists (artist_name) select unnest(${artists}::text[])`;
  await sql`
    insert into wxyc_schema.library (artist_id, artist_name, album_title, code_volume_letters, legacy_release_id)
    select 1, 'Various Artists', 'Volume ' || n, 'Z', n
    from generate_series(1, ${RELEASES + OTHER_RELEASES}::integer) as n`;
  await sql`
    create table title as select words, number from unnest(${titles}::text[]) with ordinality as listed (words, number)`;
  await sql`
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name, track_title, track_position)
    select release, artists.artist_name, title.words, case when n % 9 < 2 then n::text end
    from generate_series(1, ${RELEASES + OTHER_RELEASES}::integer) as release
    cross join lateral generate_series(
      1, case when release <= ${RELEASES}::integer then ${CREDITS}::integer else ${OTHER_CREDITS}::integer end
    ) as n
    join wxyc_schema.artists on artists.id = 1 + (release * 61 + n * 37) % ${artists.length}::integer
    join title on title.number = 1 + (release * 97 + n * 41) % ${titles.length}::integer
    order by release, n`;
  await sql`
    create table staged as
    select
      credit.library_id, credit.artist_name, credit.track_title, artists.id as track_artist_id,
      0.95::real as confidence,
      row_number() over (partition by credit.library_id order by credit.id)::text as track_position
    from wxyc_schema.compilation_track_artist as credit
    join wxyc_schema.artists using (artist_name)
    where credit.library_id <= ${RELEASES}
    order by credit.id`;
}

async function answerOf(sql: postgres.Sql): Promise<string> {
  const rows = await sql`select * from staged`;
  const results = Array.from({ length: RELEASES }, (_, index) => ({
    kind: 'compilation',
    library_id: index + 1,
    main: null,
    method: null,
    confidence: null,
    provenance: [],
    tracks_attempted: true,
    tracks: rows
      .filter(({ library_id }) => library_id === index + 1)
      .map(({ track_position, artist_name, track_title }) => ({
        track_position,
        artist_name,
        track_title,
        resolved_artist_name: artist_name,
        confidence: 0.95,
        method: 'name_variation',
        sources: [],
      })),
  }));
  return JSON.stringify({ results, cache_stats: null, tracks_contract_version: 1 });
}

/** A copy of a database comes cold, and a session without plans, which a worker's is not. */
async function warmUp(sql: postgres.Sql): Promise<void> {
  await sql`select count(*) from wxyc_schema.compilation_track_artist`;
  await sql`select count(*) from wxyc_schema.artists`;
  await sql`select count(*) from staged`;
  const [elsewhere, track] = [RELEASES + 1, { artist_name: 'Nobody', resolved_artist_name: 'Nobody' }];
  const result = { kind: 'compilation', library_id: elsewhere, provenance: [], tracks: [track] };
  const body = JSON.stringify({ results: [result], tracks_contract_version: 1 });
  // PostgreSQL plans a statement of a function again five times before it keeps a plan.
  for (let call = 0; call < 6; call++)
    await sql`select from identity_sync.apply_identity_response(body => ${body}, requested => ${[elsewhere]})`;
}

async function update(sql: postgres.Sql): Promise<void> {
  await sql`
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = staged.track_artist_id,
      track_artist_link_confidence = staged.confidence,
      track_artist_link_method = 'lml_backfill',
      track_position = coalesce(known.track_position, staged.track_position)
    from staged
    where known.library_id = staged.library_id
      and known.artist_name = staged.artist_name
      and known.track_title = staged.track_title`;
}

async function apply(sql: postgres.Sql, body: string): Promise<void> {
  const requested = Array.from({ length: RELEASES }, (_, index) => index + 1);
  const [{ report }] = await sql<[{ report: { compilation_track: Record<string, number> } }]>`
    select report from identity_sync.apply_identity_response(
      body => ${body}, requested => ${requested}, origin => 'consumer:lml-bulk') as report`;
  const { written, unchanged } = report.compilation_track;
  if (written! + unchanged! !== ROWS) throw new Error(JSON.stringify(report));
}

function timed(database: Database, work: () => Promise<void>): Promise<Measurement> {
  return database.measure(async () => {
    const started = performance.now();
    await work();
    return { seconds: (performance.now() - started) / 1000, nodeCpuSeconds: 0, nodeMegabytes: null };
  });
}

function median(values: number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}
