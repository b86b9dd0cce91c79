// An operator's call of the database, for good or as a dry run.
import { connectDatabase, type Sql } from './connect.js';

export type Report = Record<string, unknown>;

class RolledBack extends Error {}

/**
 * Calls the database once, in a transaction of its own. A dry run does all of it and rolls back: deferred constraints are
 * checked, sequences move, and the rows are locked meanwhile.
 */
export async function inTransaction(
  databaseUrl: string,
  dryRun: boolean,
  call: (sql: Sql) => Promise<Report>,
): Promise<Report> {
  const sql = connectDatabase(databaseUrl, 1);
  let report: Report = {};
  try {
    await sql.begin(async (transaction) => {
      report = await call(transaction as unknown as Sql);
      if (dryRun) throw new RolledBack();
    });
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error;
  } finally {
    await sql.end();
  }
  return report;
}
