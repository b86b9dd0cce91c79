// The operator's commands: each calls the function of the same name, for good or rehearsed and rolled back.
import { connectDatabase, type Sql } from '../database/connect.js';

export type Report = Record<string, unknown>;

/** What an operation reports, and whether it went well on the whole. */
export interface Judged {
  report: Report;
  isSuccess: boolean;
}

class RolledBack extends Error {}

/**
 * Calls the database once, in a transaction of its own. With `dryRun` all of it is rolled back: deferred constraints are
 * checked first, sequences move, and the rows are locked while it takes.
 */
async function operate<Result>(
  databaseUrl: string,
  dryRun: boolean,
  call: (sql: Sql) => Promise<Result>,
): Promise<Result> {
  const sql = connectDatabase(databaseUrl, 1);
  let result = null as Result;
  try {
    await sql.begin(async (transaction) => {
      result = await call(transaction as unknown as Sql);
      if (dryRun) throw new RolledBack();
    });
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error;
  } finally {
    await sql.end();
  }
  return result;
}

/** Has the database judge a report by its one rule of success. */
async function judge(sql: Sql, report: Report): Promise<Judged> {
  const [row] = await sql<[{ is_success: boolean }]>`
    select is_success from identity_sync.report_is_success(report => ${JSON.stringify(report)}::text::jsonb) as is_success`;
  return { report, isSuccess: row.is_success };
}

/** Applies a text of verdicts as a repair by hand; a dry run reports in the locked shape. */
export function applyText(
  databaseUrl: string,
  body: string,
  strictBands: boolean,
  dryRun: boolean,
): Promise<Judged> {
  return operate(databaseUrl, dryRun, async (sql) => {
    const [row] = dryRun
      ? await sql`
          select report from identity_sync.identity_dry_run_report(
            report => identity_sync.apply_identity_response(
              body => ${body}, requested => null, strict_bands => ${strictBands})) as report`
      : await sql`
          select report from identity_sync.apply_identity_response(
            body => ${body}, requested => null, strict_bands => ${strictBands}) as report`;
    return await judge(sql, row?.report);
  });
}

/** Writes what a dry run previewed. */
export function applyPreview(databaseUrl: string, runId: string, dryRun: boolean): Promise<Judged> {
  return operate(databaseUrl, dryRun, async (sql) => {
    const [row] =
      await sql`select report from identity_sync.apply_identity_preview(run_id => ${runId}) as report`;
    return await judge(sql, row?.report);
  });
}

/** Replays the quarantine, of one run or of all. */
export function replay(databaseUrl: string, runId: string | null, dryRun: boolean): Promise<Judged> {
  return operate(databaseUrl, dryRun, async (sql) => {
    const [row] = await sql`
      select report from identity_sync.replay_quarantined_verdicts(run_id => ${runId}) as report`;
    return await judge(sql, row?.report);
  });
}

/** Lets go of a library's identity or hold. */
export function release(
  databaseUrl: string,
  libraryId: string,
  reason: string,
  dryRun: boolean,
): Promise<Report> {
  return operate(databaseUrl, dryRun, async (sql) => {
    const [row] = await sql`
      select report from identity_sync.release_identity(library_id => ${libraryId}, reason => ${reason}) as report`;
    return row?.report;
  });
}
