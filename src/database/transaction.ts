// An operator's call of the database, for good or as a dry run.
import { log } from '../observe/log.js';
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
  if (tells && !dryRun) for (const { message } of notices) log.info({ step: 'record' }, message);
  return result;
}

/** Has the database judge a report by its one rule of success. */
export async function judge(sql: Sql, report: Report): Promise<JudgedReport> {
  const [row] = await sql<[{ is_success: boolean }]>`
    select is_success from identity_sync.report_is_success(report => ${JSON.stringify(report)}::text::jsonb) as is_success`;
  return { report, isSuccess: row.is_success };
}
