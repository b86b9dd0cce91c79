// An operator's call of the database, for good or as a dry run.
import type postgres from 'postgres';
import { log } from '../observe/log.js';
import type { Change } from '../screens/diff.js';
import { readAddress } from './address.js';
import { loginInWords, type Notice, openSession, type Sql } from './connect.js';
import { LineFault, placeOf } from './line.js';
import { assertFit } from './ready.js';

const CLOSED = 'CONNECTION_CLOSED';

export type Report = Record<string, unknown>;

/** The report of an operation, and whether it went well on the whole. */
export interface JudgedReport {
  report: Report;
  isSuccess: boolean;
}

const CHANGES_AT_ONCE = 2000;

/**
 * Has one function called, which `calls` names, in a transaction of its own. A dry run does all of it and rolls back:
 * deferred constraints are checked, sequences move, and the rows are locked meanwhile. `tells`: the number of the run that
 * the call was is logged, since it is undone by that.
 */
export async function inTransaction<Result>(
  databaseUrl: string,
  { calls, dryRun, tells = false }: { calls: string; dryRun: boolean; tells?: boolean },
  call: (sql: Sql) => Promise<Result>,
): Promise<Result> {
  const notices: Notice[] = [];
  const address = readAddress(databaseUrl);
  let isCut = false;
  const session = openSession(databaseUrl, { notices }, () => {
    isCut = true;
  });
  // postgres.js would go on with another session, outside the transaction; and its own `begin` ends the process, since it
  // rolls back on a socket that is gone.
  const sql = ((strings, ...parameters) => {
    if (isCut)
      throw new LineFault(`the database ${placeOf(address)} has closed the connection (${CLOSED})`, CLOSED);
    return session(strings, ...parameters);
  }) as Sql;
  let result = null as Result;
  try {
    await sql`begin`;
    await assertFit(sql, [calls]);
    result = await call(sql);
    await (dryRun ? sql`rollback` : sql`commit`);
  } catch (error) {
    throw loginInWords(error, address);
  } finally {
    await session.end({ timeout: 2 });
  }
  if (tells && !dryRun) for (const { message, hint } of notices) log.info({ step: 'record', hint }, message);
  return result;
}

/** Has the database judge a report by its one rule of success. */
export async function judge(sql: Sql, report: Report): Promise<JudgedReport> {
  const [row] = await sql<[{ is_success: boolean }]>`
    select is_success from identity_sync.report_is_success(report => ${JSON.stringify(report)}::text::jsonb) as is_success`;
  return { report, isSuccess: row.is_success };
}

/** What a run changed, or what this session has just done by hand where none is named: a part of it at a time. */
export const changesOf = (sql: Sql, runId: string | null): AsyncIterable<Change[]> =>
  (sql as unknown as postgres.Sql)<Change[]>`
    select library_id, artist_name, album_title, stored_row, column_name, old_value, new_value
    from identity_sync.identity_run_changes(run_id => ${runId})`.cursor(CHANGES_AT_ONCE);
