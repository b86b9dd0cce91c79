// What the tests of undoing share: runs made by hand, their undo and their diff, and all that a run may write.
import type postgres from 'postgres';
import { call } from './catalogue.js';
import type { Fields } from './writer.js';

/** The number of the run that was recorded last. */
export async function lastRun(sql: postgres.Sql): Promise<string> {
  const [row] = await sql<[{ run_id: string }]>`
    select run_id from identity_sync.run order by run_id desc limit 1`;
  return row.run_id;
}

export async function undo(
  sql: postgres.Sql,
  run_id: string | number,
  ids: number[] | null = null,
): Promise<Fields> {
  const [row] = await call<{ undo_identity_run: Fields }>(sql, 'undo_identity_run', { run_id, ids });
  return row!.undo_identity_run;
}

export function changesOf(sql: postgres.Sql, run_id: string | null): Promise<Fields[]> {
  return call(sql, 'identity_run_changes', { run_id });
}

/** Every row that a run may write outside its own books, with its times. */
export async function stored(sql: postgres.Sql): Promise<Record<string, Fields[]>> {
  return {
    identities: [...(await sql`select * from wxyc_schema.library_identity order by library_id`)],
    sources: [...(await sql`select * from wxyc_schema.library_identity_source order by library_id, source`)],
    credits: [...(await sql`select * from wxyc_schema.compilation_track_artist order by id`)],
  };
}

/** The same with marks and open quarantine, and without times. */
export async function storedWithoutTimes(sql: postgres.Sql): Promise<unknown> {
  const rows = await stored(sql);
  const attempts = await sql`select library_id, outcome from identity_sync.attempt order by library_id`;
  const quarantine = await sql`
    select library_id, outcome, reason, path, verdict from identity_sync.quarantine order by library_id`;
  return JSON.stringify({ ...rows, attempts, quarantine }, (key, value) =>
    key === 'last_verified_at' ? undefined : value,
  );
}
