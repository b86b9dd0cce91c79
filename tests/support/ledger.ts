// What the tests of the batch and run rooms read: the ledger of runs, batches and calls.
import type postgres from 'postgres';

/** A batch as the ledger has it. */
export async function batchOf(sql: postgres.ISql, batchId: string) {
  const [row] = await sql`select * from identity_sync.batch where batch_id = ${batchId}`;
  return row!;
}

/** Every batch of a run, in the order in which they were made. */
export async function batchesOf(sql: postgres.ISql, runId: string) {
  const rows = await sql`select * from identity_sync.batch where run_id = ${runId} order by batch_id`;
  return rows.map((row) => ({ ...row }));
}

/** A run as the ledger has it. */
export async function runOf(sql: postgres.ISql, runId: string) {
  const [row] = await sql`select * from identity_sync.run where run_id = ${runId}`;
  return row!;
}

export async function reportOf(sql: postgres.ISql, runId: string) {
  const [row] = await sql`select identity_sync.identity_run_report(${runId}) as report`;
  return row!.report;
}

/** The calls of a batch that have ended. */
export async function callsOf(sql: postgres.ISql, batchId: string) {
  const calls = await sql`
    select http_status, latency_ms, failure, inputs from identity_sync.lml_call
    where batch_id = ${batchId} and answered_at is not null`;
  return calls.map((row) => ({ ...row }));
}

/** The libraries that anything was written about: identities, attempts, quarantine. */
export async function written(sql: postgres.ISql): Promise<number[]> {
  const rows = await sql`
    select library_id from wxyc_schema.library_identity
    union all select library_id from wxyc_schema.library_identity_source
    union all select library_id from identity_sync.attempt
    union all select library_id from identity_sync.quarantined_verdict`;
  return rows.map((row) => row.library_id);
}

/** All that the handling of a call may change. */
export async function everything(sql: postgres.ISql) {
  return {
    runs: await sql`select * from identity_sync.run order by run_id`,
    batches: await sql`select * from identity_sync.batch order by batch_id`,
    calls: await sql`select * from identity_sync.lml_call order by call_id`,
    settlements: await sql`select * from identity_sync.settlement order by settlement_id`,
    written: await written(sql),
  };
}
