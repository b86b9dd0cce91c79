// What must hold once all is quiet: the tables are those of the model, the books add up, and nothing is left open.
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { retryWhileDisconnected } from '../../src/database/retry.js';
import type { Identity, Model } from '../model/model.js';
import { add } from '../model/model.js';
import { expectedTables, storedTables } from '../model/tables.js';
import type { Report } from '../support/report.js';
import { differences } from './comparing.js';
import type { Settled } from './ledger.js';

const asItIs = (at: number) => at;

/** Waits until what is open has come to its end by the workers' own means; returns what has not. */
export async function rest(sql: postgres.Sql, withinMs: number): Promise<string[]> {
  const began = Date.now();
  for (;;) {
    const [open] = await retryWhileDisconnected(
      () => sql`
        select
          (select count(*)::integer from identity_sync.run where finished_at is null) as runs,
          -- What a dead worker has locked, graphile-worker gives out again after four hours; it then ends at once.
          (
            select coalesce(json_agg(jobs), '[]') from graphile_worker.jobs
            where locked_at is null and attempts < max_attempts and run_at <= clock_timestamp()
          ) as jobs`,
    );
    if (open!.runs + open!.jobs.length === 0) return [];
    if (Date.now() - began > withinMs)
      return [`after ${withinMs / 60_000} minutes of rest there is left: ${JSON.stringify(open)}`];
    await sleep(500);
  }
}

/** Every table against the model; returns what differs. */
export async function compareTables(sql: postgres.Sql, model: Model): Promise<string[]> {
  model.now = Date.now();
  const [stored, expected] = [await storedTables(sql, asItIs), expectedTables(model, asItIs)];
  const tables = Object.keys(stored) as (keyof typeof stored)[];
  return [
    ...tables.map((table) => differing(table, byKey(expected[table]), byKey(stored[table]))),
    differing('history', versionsOf(model), await storedVersions(sql)),
    differing('asked_as', await questionsOf(sql, model), await storedQuestions(sql)),
    differing('run', brakedIn(model), await storedBrakes(sql)),
  ].filter(Boolean);
}

/** Rows by what they are about, so that one row too many does not make all of them differ. */
function byKey(rows: unknown[]): Record<string, unknown> {
  const byKey: Record<string, unknown[]> = {};
  for (const row of rows) {
    const key = Array.isArray(row)
      ? row.slice(0, -1).join(' ')
      : String((row as { library?: number })?.library ?? row);
    byKey[key] = [...(byKey[key] ?? []), Array.isArray(row) ? row.at(-1) : row];
  }
  return byKey;
}

function differing(table: string, expected: object, stored: object): string {
  const found = differences(expected, stored);
  return found && `table ${table}: ${found}`;
}

/** The runs that the brake stopped, and by which gauge. */
function brakedIn(model: Model): Record<number, string> {
  const braked = [...model.runs].flatMap(([run, { brakedBy }]) =>
    brakedBy === null ? [] : [[run, brakedBy] as const],
  );
  return Object.fromEntries(braked);
}

async function storedBrakes(sql: postgres.Sql): Promise<Record<number, string>> {
  const runs = await sql<{ run: number; gauge: string }[]>`
    select run_id::integer as run, braked_by as gauge from identity_sync.run where braked_by is not null`;
  return Object.fromEntries(runs.map(({ run, gauge }) => [run, gauge]));
}

type Versions = Record<number, string[]>;

/** A merge brings the versions of two libraries together, so that their order says nothing. */
const versionOf = ({ confidence, ...row }: Identity) =>
  JSON.stringify(Object.entries({ ...row, confidence: Math.fround(confidence) }).sort());

function versionsOf(model: Model): Versions {
  return Object.fromEntries([...model.versions].map(([id, all]) => [id, all.map(versionOf).sort()]));
}

async function storedVersions(sql: postgres.Sql): Promise<Versions> {
  const rows = await sql<(Identity & { library_id: number })[]>`
    select
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, notes, (extract(epoch from last_verified_at) * 1000)::float8 as "verifiedAt",
      discogs_release_id, agreement_sources
    from wxyc_schema.library_identity_history`;
  const versions: Versions = {};
  for (const { library_id, ...row } of rows) {
    versions[library_id] ??= [];
    versions[library_id].push(versionOf(row));
  }
  for (const all of Object.values(versions)) all.sort();
  return versions;
}

async function questionsOf(sql: postgres.Sql, model: Model): Promise<Record<string, string | null>> {
  const questions = [...model.questions];
  const rows = await sql<{ id: number; fingerprint: string | null }[]>`
    select
      id, identity_sync_private.fingerprint(id, question ->> 1, question ->> 2)::text as fingerprint
    from unnest(
      ${questions.map(([id]) => id)}::integer[], ${questions.map(([, question]) => question)}::text[]::jsonb[]
    ) as asked (id, question)`;
  return Object.fromEntries(rows.map(({ id, fingerprint }) => [id, fingerprint]));
}

async function storedQuestions(sql: postgres.Sql): Promise<Record<string, string | null>> {
  const rows = await sql<{ library_id: number; fingerprint: string | null }[]>`
    select library_id, fingerprint::text from identity_sync.asked_as`;
  return Object.fromEntries(rows.map(({ library_id, fingerprint }) => [library_id, fingerprint]));
}

/** What the books of the service say of themselves; returns what does not add up. */
export async function checkBooks(sql: postgres.Sql, settled: Settled[]): Promise<string[]> {
  const complaints: string[] = [];
  const rowsOf = async (what: string, rows: PromiseLike<Iterable<object>>) => {
    const found = [...(await rows)];
    if (found.length > 0) complaints.push(`${what}: ${JSON.stringify(found.slice(0, 5))} of ${found.length}`);
  };
  await rowsOf('open runs', sql`select run_id from identity_sync.run where finished_at is null`);
  await rowsOf(
    'batches left open or leased',
    sql`select batch_id, state from identity_sync.batch where closed_at is null or leased_by is not null`,
  );
  await rowsOf('locks left', sql`select library_ids::text from identity_sync.library_lock`);
  await rowsOf(
    'batches that are done without one settlement, or settled without being done',
    sql`
      select batch.batch_id, batch.state, count(settlement)::integer as settlements
      from identity_sync.batch
      join identity_sync.run on run.run_id = batch.run_id
      left join identity_sync.settlement on settlement.batch_id = batch.batch_id and settlement.run_id = run.run_id
      group by batch.batch_id
      having count(settlement) <> batch.is_done::integer`,
  );
  await rowsOf(
    'planned rows that are in no batch, or in two',
    sql`
      select run.run_id, run.planned, count(*)::integer as rows, count(distinct named.id)::integer as ids
      from identity_sync.run
      join identity_sync.batch on batch.run_id = run.run_id and batch.state <> 'split'
      cross join unnest(batch.library_ids) as named (id)
      group by run.run_id
      having count(*) <> count(distinct named.id) or count(*) > run.planned`,
  );
  const runs = await sql<{ run: number; report: Report; reports: Report[]; outcome: string }[]>`
    select run.run_id::integer as run, run.outcome, run.report, jsonb_agg(settlement.report) as reports
    from identity_sync.run join identity_sync.settlement on settlement.run_id = run.run_id
    where run.scope in ('due', 'refresh', 'recheck', 'ids')
    group by run.run_id`;
  for (const { run, report, reports } of runs) {
    const found = differences(
      add(reports),
      Object.fromEntries(Object.keys(reports[0]!).map((key) => [key, report[key as keyof Report]])),
    );
    if (found) complaints.push(`the report of run ${run}: ${found}`);
  }
  for (const { batch, askedAgain } of settled)
    if (askedAgain) complaints.push(`batch ${batch} was asked again, though LML had answered: ${askedAgain}`);
  return complaints;
}
