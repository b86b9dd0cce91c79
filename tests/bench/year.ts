// A year of the service in minutes: 365 nights over the station's real catalogue, which is edited by day, and an LML that
// learns, has a bad week and gains a source. It prints what the year cost and what is in the tables at its end, and fails
// where a row waited for longer than its window, or does not say what LML last said of its name.
//   npm run year -- [--nights 365] [--rows 64676] [--version 18]
// Planning, claiming, writing and pruning are the product's own. The database's clock is moved on by a day each night.
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { loadCatalogue, loadCompilationCredits } from '../../src/demo/catalogue.js';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import {
  type Additions,
  type ArtistIdentity,
  type Input,
  identityVerdict,
  inMood,
  loadCompilations,
  loadIdentities,
  type Mood,
  type Result,
  realMix,
  withAdditions,
} from '../../src/demo/stand-in.js';
import { log } from '../../src/observe/log.js';
import { ownWords } from '../support/pending.js';
import { applyDefinitions, readText } from '../support/repository.js';

const { values: flags } = parseArgs({
  options: {
    nights: { type: 'string', default: '365' },
    rows: { type: 'string', default: '64676' },
    version: { type: 'string', default: '18' },
  },
});
const NIGHTS = Number(flags.nights);
const KEEP_DAYS = 30;
const STALE_DAYS = 7;
const RETRY_DAYS = 30;
// The first run is spread over a week by its budget of calls.
const FIRST_NIGHTS = 7;
const BATCH_SIZE = 500;
const LANES = 2;

// What the station does by day, and what LML learns.
const DAILY = { renamed: 20, deleted: 5, merged: 3, added: 10, learnt: 20 };
const RESTORED_AFTER = 3;
const MASS_RENAME = { night: Math.round(NIGHTS * 0.6), artists: 1000 };
const BAD_WEEK = Math.round(NIGHTS * 0.4);
const MOODS: Mood[] = [
  'overloaded',
  'overloaded',
  'shifted',
  'shifted',
  'new_kind',
  'store_down',
  'store_down',
];
const NEW_SOURCE = { night: Math.round(NIGHTS * 0.75), additions: { source: 'deezer' } satisfies Additions };

interface Shelved {
  artist: string;
  title: string;
  /** The night from which on it is there, is called so, or was left without an identity. */
  since: number;
}

interface Said {
  artist: string;
  title: string;
  night: number;
  result: Omit<Result, 'kind'> & { kind: string };
}

const random = seeded(1);
const started = performance.now();
log.level = 'error';

const known = loadIdentities();
const compilations = loadCompilations();
const mix = realMix(known);
const learnt = new Map<string, ArtistIdentity | undefined>();
const identities = { get: (name: string) => (learnt.has(name) ? learnt.get(name) : mix.get(name)) };
const verdicts = new Map<string, Result>();
const shelf = new Map<number, Shelved>();
const said = new Map<number, Said>();
const gone: { id: number; night: number; row: Record<string, unknown> }[] = [];
const complaints: string[] = [];
const counts: Record<string, number> = {};
/** By what name a row last got an identity. */
const resolvedAs = new Map<number, string>();
let artists: string[] = [];
let everShelved: number[] = [];
let largest = 0;

const server = await startEmbeddedPostgres({
  version: flags.version === '14' ? 14 : 18,
  settings: { fsync: 'off', shared_buffers: '256MB', max_wal_size: '4GB', autovacuum: 'off' },
});
const sessions = Array.from({ length: LANES + 1 }, () =>
  postgres(server.url, { max: 1, onnotice: () => {} }),
);
const [sql, ...lanes] = sessions as [postgres.Sql, ...postgres.Sql[]];
try {
  await moveIn();
  for (let night = 0; night < NIGHTS; night++) await live(night);
  await judgeTheYear();
} finally {
  for (const session of sessions) await session.end();
  await server.stop();
}

async function moveIn(): Promise<void> {
  await loadCatalogue(sql, { rows: Number(flags.rows) });
  await loadCompilationCredits(sql);
  await migrate(server.url);
  await sql.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(sql);
  await sql`update wxyc_schema.library set canonical_entity_id = 'release:' || id where legacy_release_id < 0`;
  // PostgreSQL calls a built-in by its number, but puts an SQL function's body in the place of its call: the inner call
  // is the real clock.
  for (const [clock, kind] of [
    ['clock_timestamp', 'volatile'],
    ['statement_timestamp', 'stable'],
    ['transaction_timestamp', 'stable'],
    ['now', 'stable'],
  ]) {
    await sql.unsafe(`
      create or replace function pg_catalog.${clock}() returns timestamptz language sql ${kind} as $$
        select pg_catalog.${clock}() + current_setting('year.night')::integer * interval '24 hours'
      $$`);
  }
  for (const { id, artist, title } of await sql<{ id: number; artist: string; title: string }[]>`
    select id, artist_name as artist, album_title as title from wxyc_schema.library where canonical_entity_id is not null`) {
    shelf.set(id, { artist, title, since: 0 });
  }
  artists = [...new Set([...shelf.values()].map((row) => row.artist))];
  everShelved = [...shelf.keys()];
  await sql`vacuum analyze`;
}

async function live(night: number): Promise<void> {
  for (const session of sessions) await session.unsafe(`set year.night = ${night}`);
  if (night > 0) await passTheDay(night);
  const mood = MOODS[night - BAD_WEEK] ?? null;
  const run = (await plan(night, true)) ?? (await plan(night, false));
  const [waiting] = await sql<[{ batches: number }]>`
    select count(*)::integer as batches from identity_sync.batch where run_id = ${run} and closed_at is null`;
  const renamedInFlight = { left: night < FIRST_NIGHTS ? 0 : 1 };
  if (waiting.batches > 0)
    await Promise.all(lanes.map((_, lane) => carry(run!, lane, night, mood, renamedInFlight)));
  await sql`delete from graphile_worker._private_jobs`;
  await tellOfRun(run!, night, mood);
  await sql`select from identity_sync.prune_identity_sync(keep_days => ${KEEP_DAYS})`;
  await sql`select from identity_sync.analyze_filled_tables()`;
  if (night % 7 === 6) await sql.unsafe('vacuum analyze');
  await measure();
  judgeTheNight(night);
}

async function plan(night: number, scheduled: boolean): Promise<string | null> {
  const budget = night < FIRST_NIGHTS ? Math.ceil(shelf.size / BATCH_SIZE / (FIRST_NIGHTS - 1)) : null;
  const [planned] = await sql<[{ run: string | null }]>`
    select identity_sync.plan_identity_run(
      stale_days => ${STALE_DAYS}, unresolved_retry_days => ${RETRY_DAYS}, batch_size => ${BATCH_SIZE},
      call_budget => ${budget}::integer, scheduled => ${scheduled}
    ) as run`;
  return planned.run;
}

/** One lane, as src/carry does it, with LML in the place of the call. */
async function carry(
  run: string,
  lane: number,
  night: number,
  mood: Mood | null,
  renamedInFlight: { left: number },
): Promise<void> {
  const session = lanes[lane]!;
  const name = `year:1:${lane}`;
  for (let answered: string | null = null; ; ) {
    const [claimed]: { batch_id: string | null; request: string }[] = await session`
      select batch_id, request from identity_sync.claim_identity_batch(
        run_id => ${run}, leased_by => ${name}, concurrency => ${LANES}, lease_ms => 40000, answered => ${answered}::bigint)`;
    if (!claimed) return;
    if (claimed.batch_id === null) continue;
    answered = claimed.batch_id;
    const { inputs, include_tracks } = JSON.parse(claimed.request) as {
      inputs: Input[];
      include_tracks: boolean;
    };
    const results = inputs.map((input) => answer(input, include_tracks, night, mood));
    if (renamedInFlight.left-- > 0) await rename(inputs[0]!.library_id, night);
    const body = JSON.stringify({ results, cache_stats: null, tracks_contract_version: 1 });
    const [{ outcome }] = await session<[{ outcome: string }]>`
      select outcome from identity_sync.finish_identity_call(
        batch_id => ${claimed.batch_id}, leased_by => ${name}, http_status => 200, body => ${body}, failure => null,
        latency_ms => 1900)`;
    if (outcome !== 'applied') complaints.push(`night ${night}: a batch was ${outcome}`);
    count('asked', inputs.length);
    for (const [index, { library_id, artist_name, album_title }] of inputs.entries()) {
      const row = shelf.get(library_id);
      if (row?.artist !== artist_name || row.title !== album_title) continue;
      said.set(library_id, { artist: artist_name, title: album_title, night, result: results[index]! });
      if (results[index]!.kind === 'single_artist') resolvedAs.set(library_id, artist_name);
    }
  }
}

function answer(input: Input, includeTracks: boolean, night: number, mood: Mood | null) {
  const isRelease = compilations.has(input.album_title);
  const key = `${includeTracks}/${input.artist_name}/${isRelease ? input.album_title : ''}`;
  let verdict = verdicts.get(key);
  if (!verdict) {
    verdict = identityVerdict(input, identities, includeTracks, compilations);
    verdicts.set(key, verdict);
  }
  const result = { ...verdict, library_id: input.library_id };
  return inMood(mood, night < NEW_SOURCE.night ? result : withAdditions(result, NEW_SOURCE.additions));
}

/** Deletions, restores, merges, renames and additions, as the station's backend makes them; and LML learns. */
async function passTheDay(night: number): Promise<void> {
  while (gone[0] && gone[0].night <= night - RESTORED_AFTER) {
    const { row, id } = gone.shift()!;
    if (id % 2 === 0) continue;
    await sql`insert into wxyc_schema.library ${sql(row)}`;
    shelf.set(id, { artist: row.artist_name as string, title: row.album_title as string, since: night });
    count('restored');
  }
  for (let each = 0; each < DAILY.deleted; each++) await remove(anyId(), night);
  for (let each = 0; each < DAILY.merged; each++) await mergeTwins();
  for (let each = 0; each < DAILY.renamed; each++) await rename(anyId(), night);
  for (let each = 0; each < DAILY.added; each++) await add(night);
  if (night === MASS_RENAME.night)
    for (let each = 0; each < MASS_RENAME.artists; each++) await renameArtist(night);
  for (let each = 0; each < DAILY.learnt; each++) learn(anyArtist());
}

async function remove(id: number, night: number): Promise<void> {
  const [row] = await sql`select * from wxyc_schema.library where id = ${id}`;
  await sql.begin(async (tx) => {
    await tx`set local lock_timeout = '750ms'`;
    await tx`delete from wxyc_schema.library_identity_source where library_id = ${id}`;
    await tx`delete from wxyc_schema.library_identity where library_id = ${id}`;
    await tx`delete from wxyc_schema.library where id = ${id}`;
  });
  gone.push({ id, night, row: row! });
  forget(id);
  count('deleted');
}

async function mergeTwins(): Promise<void> {
  const survivor = anyId();
  const { artist } = shelf.get(survivor)!;
  const loser = [...shelf].find(([id, row]) => row.artist === artist && id !== survivor)?.[0];
  if (loser === undefined) return;
  await sql.begin(async (tx) => {
    await tx`set local lock_timeout = '750ms'`;
    for (const table of ['library_identity', 'library_identity_source'])
      await tx`
        delete from ${tx(`wxyc_schema.${table}`)} where library_id = ${loser}
          and exists (select from wxyc_schema.library_identity where library_id = ${survivor})`;
    for (const table of ['library_identity', 'library_identity_source', 'library_identity_history'])
      await tx`update ${tx(`wxyc_schema.${table}`)} set library_id = ${survivor} where library_id = ${loser}`;
    await tx`delete from wxyc_schema.library where id = ${loser}`;
  });
  // The loser's identity may be fresh while the survivor's mark runs out, or where it has none.
  const [kept, inherited] = [said.get(survivor), said.get(loser)];
  if (kept && inherited) kept.night = Math.max(kept.night, inherited.night);
  if (!kept && inherited) said.set(survivor, { ...inherited, title: shelf.get(survivor)!.title });
  forget(loser);
  count('merged');
}

async function rename(id: number, night: number): Promise<void> {
  const artist = anyArtist();
  await sql`update wxyc_schema.library set artist_name = ${artist} where id = ${id}`;
  shelf.set(id, { ...shelf.get(id)!, artist, since: night });
  count('renamed');
}

/** All records of an artist at once, as the backend's trigger does it. */
async function renameArtist(night: number): Promise<void> {
  const [former, artist] = [anyArtist(), anyArtist()];
  const renamed = await sql<{ id: number }[]>`
    update wxyc_schema.library set artist_name = ${artist}
    where artist_name = ${former} and canonical_entity_id is not null returning id`;
  for (const { id } of renamed) shelf.set(id, { ...shelf.get(id)!, artist, since: night });
  count('renamed', renamed.length);
}

async function add(night: number): Promise<void> {
  const artist = anyArtist();
  const title = `Album of night ${night}`;
  const [{ id }] = await sql<[{ id: number }]>`
    insert into wxyc_schema.library (artist_id, artist_name, album_title, canonical_entity_id, legacy_release_id)
    select min(artist.id), ${artist}, ${title}, 'artist:new', (select max(legacy_release_id) + 1 from wxyc_schema.library)
    from wxyc_schema.artists as artist
    returning id`;
  shelf.set(id, { artist, title, since: night });
  everShelved.push(id);
  count('added');
}

/** Another id for an artist, one that it did not know before, or one of ten that it knows no more. */
function learn(artist: string): void {
  const before = identities.get(artist) ?? known.get(artist);
  const drawn = 1 + Math.floor(random() * 9_000_000);
  learnt.set(
    artist,
    random() < 0.1
      ? undefined
      : {
          ...(before ?? {
            artist_name: artist,
            musicbrainz_artist_id: null,
            wikidata_qid: null,
            spotify_artist_id: null,
            apple_music_artist_id: null,
            bandcamp_id: null,
          }),
          discogs_artist_id: drawn,
        },
  );
  for (const tracks of [true, false]) verdicts.delete(`${tracks}/${artist}/`);
}

async function tellOfRun(run: string, night: number, mood: Mood | null): Promise<void> {
  const [ended] = await sql<
    [{ outcome: string; outcome_reason: string | null; planned: number; braked_by: string | null }]
  >`
    select outcome, outcome_reason, planned, braked_by from identity_sync.run where run_id = ${run}`;
  if (ended.braked_by) count(`braked by ${ended.braked_by}`);
  const isWell = ended.outcome === 'completed' || mood !== null;
  if (!isWell) complaints.push(`night ${night}: ${ended.outcome}, ${ended.outcome_reason}`);
  if (night % 30 === 0 || mood !== null || night === MASS_RENAME.night || night === NEW_SOURCE.night) {
    const seconds = Math.round((performance.now() - started) / 1000);
    console.log(
      `night ${night}, ${seconds} s: ${ended.planned} rows${mood ? `, LML ${mood}` : ''}: ${ended.outcome}${ended.outcome_reason ? `, ${ended.outcome_reason}` : ''}`,
    );
  }
}

/** No row waits for longer than its window and a night; a row that changed its name in flight waits for the next one. */
function judgeTheNight(night: number): void {
  const isExcused = night < FIRST_NIGHTS || (night >= BAD_WEEK && night < BAD_WEEK + MOODS.length);
  if (isExcused) return;
  let late = 0;
  for (const [id, row] of shelf) {
    if (!row.artist.trim()) continue;
    const last = said.get(id);
    const isAsked = last?.artist === row.artist && last.title === row.title && last.night >= row.since;
    const wait = last?.result.kind === 'single_artist' ? STALE_DAYS : RETRY_DAYS;
    if (isAsked ? night - last.night > wait + 1 : night > row.since) late++;
    if (isAsked)
      count('longest wait of an identity', 0, last.result.kind === 'single_artist' ? night - last.night : 0);
    if (isAsked)
      count('longest wait of the others', 0, last.result.kind !== 'single_artist' ? night - last.night : 0);
  }
  if (late > 0) complaints.push(`night ${night}: ${late} rows wait for longer than their window`);
}

async function measure(): Promise<void> {
  const [{ bytes }] = await sql<[{ bytes: number }]>`
    select sum(pg_total_relation_size(oid))::float8 as bytes from pg_class
    where relnamespace = 'identity_sync'::regnamespace and relkind = 'r'`;
  largest = Math.max(largest, bytes);
}

/** Each row says what LML last said of its name, of which saying all of it again must change nothing. */
async function judgeTheYear(): Promise<void> {
  const rows = await sql<{ id: number; ids: Record<string, unknown> | null; sources: string[] }[]>`
    select
      library.id,
      case when identity.library_id is not null then jsonb_build_object(
        'discogs_artist_id', identity.discogs_artist_id, 'musicbrainz_artist_id', identity.musicbrainz_artist_id,
        'wikidata_qid', identity.wikidata_qid, 'spotify_artist_id', identity.spotify_id,
        'apple_music_artist_id', identity.apple_music_id, 'bandcamp_id', identity.bandcamp_id) end as ids,
      array(
        select source || ' ' || external_id from wxyc_schema.library_identity_source
        where library_id = library.id order by 1) as sources
    from wxyc_schema.library left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    where library.canonical_entity_id is not null`;
  const lasting: Said['result'][] = [];
  for (const { id, ids, sources } of rows) {
    const row = shelf.get(id)!;
    const last = said.get(id);
    if (!row.artist.trim()) continue;
    if (last?.artist !== row.artist || last.title !== row.title) {
      if (row.since < NIGHTS - 1) complaints.push(`row ${id} was never asked by its name`);
      continue;
    }
    lasting.push(last.result);
    if (last.result.kind !== 'single_artist') {
      const former = resolvedAs.get(id) === row.artist ? 'its identity' : "its former name's identity";
      count(ids ? `${last.result.kind}, keeps ${former}` : last.result.kind);
      continue;
    }
    const named = last.result.provenance
      .filter((leg) => leg.confidence !== null)
      .map((leg) => `${leg.source} ${leg.external_id}`)
      .sort();
    const isSame =
      ids !== null &&
      Object.entries(last.result.main!).every(([key, value]) => (ids[key] ?? null) === value) &&
      named.join() === [...sources].sort().join();
    count(isSame ? 'single_artist, as LML last said' : 'wrong');
    if (!isSame)
      complaints.push(
        `row ${id} says ${JSON.stringify({ ids, sources })}, LML ${JSON.stringify(last.result)}`,
      );
  }

  const again: Record<string, number> = {};
  for (let from = 0; from < lasting.length; from += BATCH_SIZE) {
    const results = lasting.slice(from, from + BATCH_SIZE);
    const body = JSON.stringify({ results, cache_stats: null, tracks_contract_version: 1 });
    const [{ report }] = await sql<[{ report: Record<string, Record<string, number>> }]>`
      select identity_sync.apply_identity_response(
        body => ${body}, requested => ${results.map((result) => result.library_id)}::integer[],
        origin => 'consumer:lml-bulk') as report`;
    for (const [part, keys] of [
      ['identity', ['inserted', 'changed']],
      ['source', ['inserted', 'changed', 'removed']],
      ['compilation_track', ['written', 'unlinked']],
    ] as const)
      for (const key of keys) again[`${part} ${key}`] = (again[`${part} ${key}`] ?? 0) + report[part]![key]!;
  }
  const changes = Object.entries(again).filter(([, changed]) => changed > 0);
  if (changes.length > 0) complaints.push(`said again, this changed: ${JSON.stringify(changes)}`);

  console.table(counts);
  console.table(
    await sql`
      select relname as name, pg_size_pretty(pg_total_relation_size(oid)) as size,
        (xpath('/row/c/text()', query_to_xml(format('select count(*) as c from identity_sync.%I', relname), false, true, '')))[1]::text as rows
      from pg_class where relnamespace = 'identity_sync'::regnamespace and relkind = 'r'
      order by pg_total_relation_size(oid) desc`,
  );
  const [{ history }] = await sql<[{ history: string }]>`
    select pg_size_pretty(pg_total_relation_size('wxyc_schema.library_identity_history')) || ', '
      || (select count(*) from wxyc_schema.library_identity_history) || ' rows' as history`;
  console.log(`at most ${(largest / 1e6).toFixed(0)} MB in identity_sync on any night; history ${history}`);
  console.log(`${NIGHTS} nights in ${Math.round((performance.now() - started) / 1000)} s`);
  for (const complaint of complaints.slice(0, 20)) console.log(`FAULT ${complaint}`);
  if (complaints.length > 0) process.exitCode = 1;
}

function forget(id: number): void {
  shelf.delete(id);
  said.delete(id);
}

function anyId(): number {
  for (;;) {
    const id = everShelved[Math.floor(random() * everShelved.length)]!;
    if (shelf.has(id)) return id;
  }
}

function anyArtist(): string {
  return artists[Math.floor(random() * artists.length)]!;
}

/** Adds to a count, or raises it. */
function count(what: string, by = 1, atLeast = 0): void {
  counts[what] = Math.max((counts[what] ?? 0) + by, atLeast);
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
