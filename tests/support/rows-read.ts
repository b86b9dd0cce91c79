// How much of the tables a statement reads: what does not depend on the machine.
import type { ISql } from 'postgres';

/** The rows of these tables that this transaction has read so far; the session's counters may hold what came before. */
export async function rowsRead(sql: ISql, tables: string[]): Promise<number> {
  const [{ rows_read }] = await sql<[{ rows_read: number }]>`
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer as rows_read
    from pg_stat_xact_user_tables
    where relname = any (${tables})`;
  return rows_read;
}
