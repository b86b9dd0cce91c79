import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import type postgres from 'postgres';
import { expect } from 'vitest';

export { answerOf, resolveAll, verdict } from './verdicts.js';

const demo = new URL('../../src/demo/', import.meta.url);

/** A record of the library, as far as a story needs it; it is canonicalized unless it says otherwise. */
export interface ShelvedRecord {
  artist: string | null;
  title?: string;
  volumeLetters?: string | null;
  canonical?: boolean;
}

/** Puts one record on the shelf and returns its library id. */
export async function shelve(sql: postgres.ISql, record: string | ShelvedRecord): Promise<number> {
  const {
    artist,
    title = 'Untitled',
    volumeLetters = null,
    canonical = true,
  } = typeof record === 'string' ? { artist: record } : record;
  const [library] = await sql<[{ id: number }]>`
    with artist as (
      insert into wxyc_schema.artists (artist_name) values (coalesce(${artist}, 'N.N.')) returning id
    )
    insert into wxyc_schema.library
      (artist_id, artist_name, album_title, code_volume_letters, canonical_entity_id, legacy_release_id)
    select id, ${artist}, ${title}, ${volumeLetters}, ${canonical ? 'artist:1' : null}, 900000 + id from artist
    returning id`;
  return library.id;
}

/** Puts several records on the shelf and returns their library ids, in the same order. */
export async function shelveAll<Records extends (string | ShelvedRecord)[]>(
  sql: postgres.ISql,
  ...records: Records
): Promise<{ [index in keyof Records]: number }> {
  const ids: number[] = [];
  for (const record of records) ids.push(await shelve(sql, record));
  return ids as { [index in keyof Records]: number };
}

/** Puts records on the library's shelves, by their ids alone where no story needs their names. */
export async function shelveRows(sql: postgres.Sql, records: { id: number }[]) {
  const unnamed = { artist_id: 1, artist_name: 'Unnamed', album_title: 'Untitled' };
  const rows = records.map((record) => ({ ...unnamed, legacy_release_id: record.id, ...record }));
  await sql`insert into wxyc_schema.library ${sql(rows)}`;
}

/** Credits an artist with a track, which makes a record compilation-shaped. */
export async function credit(sql: postgres.ISql, libraryId: number, artist: string): Promise<void> {
  await sql`
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name) values (${libraryId}, ${artist})`;
}

/** Puts those lines of the station's real catalogue on the shelf that the test wants, with the demo's own statements. */
export async function shelveRealRecords(
  sql: postgres.Sql,
  wanted: (line: string, index: number) => boolean,
): Promise<number[]> {
  const dump = gunzipSync(readFileSync(new URL('data/library.tsv.gz', demo))).toString();
  const lines = dump.split('\n').filter((line, index) => line !== '' && wanted(line, index));
  await sql.begin(async (tx) => {
    await tx.unsafe(readFileSync(new URL('dump.sql', demo), 'utf8'));
    await pipeline([lines.join('\n')], await tx`copy pg_temp.dump from stdin`.writable());
    await tx.unsafe(readFileSync(new URL('load.sql', demo), 'utf8'));
  });
  return lines.map((line) => Number.parseInt(line, 10));
}

/** Calls a function of the product with named arguments, as psql would, and returns its rows. */
export async function call<Row extends object>(
  sql: postgres.ISql,
  name: string,
  args: Record<string, unknown> = {},
): Promise<Row[]> {
  const names = Object.keys(args).map((argument, index) => `${argument} => $${index + 1}`);
  const rows = await sql.unsafe(
    `select * from identity_sync.${name}(${names.join(', ')})`,
    Object.values(args) as postgres.ParameterOrJSON<never>[],
  );
  return rows.map((row) => ({ ...row })) as Row[];
}

/** The library ids that a run with these parameters would ask for, in ascending order. */
export async function candidates(
  sql: postgres.ISql,
  parameters: Record<string, unknown> = {},
): Promise<number[]> {
  const rows = await call<{ library_id: number }>(sql, 'identity_candidates', parameters);
  return rows.map((row) => row.library_id).sort((one, other) => one - other);
}

/** Opens a run and returns its id. */
export async function plan(sql: postgres.ISql, parameters: Record<string, unknown> = {}): Promise<string> {
  const [row] = await call<{ plan_identity_run: string }>(sql, 'plan_identity_run', parameters);
  return row!.plan_identity_run;
}

interface ClaimParameters {
  leased_by?: string;
  concurrency?: number;
  lease_ms?: number;
  answered?: string | undefined;
}

/** Asks for a batch of a run: one with its request, a pause in milliseconds, or undefined where nothing is unfinished. */
export async function tryToClaim(sql: postgres.ISql, runId: string, parameters: ClaimParameters = {}) {
  const args = { run_id: runId, leased_by: 'lane', concurrency: 2, lease_ms: 60_000, ...parameters };
  type Claim = {
    batch_id: string | null;
    request: string | null;
    wait_ms: number | null;
    inputs: number | null;
  };
  const [row] = await call<Claim>(sql, 'claim_identity_batch', args);
  return row;
}

/** Claims a batch of a run that has one to give. */
export async function claim(sql: postgres.ISql, runId: string, parameters: ClaimParameters = {}) {
  const claimed = await tryToClaim(sql, runId, parameters);
  if (!claimed?.batch_id) throw new Error(`run ${runId} gives no batch: ${JSON.stringify(claimed)}`);
  return claimed as { batch_id: string; request: string; inputs: number };
}

export interface Came {
  leased_by?: string;
  status?: number | null;
  body?: string | null;
  failure?: string;
  retryAfter?: string;
  latencyMs?: number;
  maxTries?: number;
}

/** Finishes a call, with an answer of 200 unless stated otherwise, and returns what becomes of the batch. */
export async function settle(sql: postgres.ISql, batchId: string, came: Came): Promise<string> {
  const { leased_by = 'lane', status = 200, body = null, failure = null, retryAfter = null } = came;
  const [settled] = await call<{ outcome: string }>(sql, 'finish_identity_call', {
    batch_id: batchId,
    leased_by,
    http_status: status,
    body,
    failure,
    retry_after: retryAfter,
    latency_ms: came.latencyMs ?? 12,
    max_tries: came.maxTries ?? 1,
  });
  return settled!.outcome;
}

/** Waits until so many sessions of the database wait for a lock that another one holds. */
export async function untilWaiting(sql: postgres.Sql, sessions = 1): Promise<void> {
  await expect.poll(() => waitingSessions(sql), { interval: 10 }).toBe(sessions);
}

/** Waits until a statement either is done or waits for a lock. */
export async function untilDoneOrWaiting(sql: postgres.Sql, statement: Promise<unknown>): Promise<void> {
  let isDone = false;
  const end = () => {
    isDone = true;
  };
  statement.then(end, end);
  const isSettled = async () => isDone || (await waitingSessions(sql)) > 0;
  await expect.poll(isSettled, { interval: 10 }).toBe(true);
}

async function waitingSessions(sql: postgres.Sql): Promise<number> {
  const [waiting] = await sql<[{ count: number }]>`
    select count(*)::integer as count from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`;
  return waiting.count;
}
