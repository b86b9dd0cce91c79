// What a person or the cron asks of a run, and the one call that plans it.
import { hostname } from 'node:os';
import type { Notice, Sql } from '../database/connect.js';
import { log } from '../observe/log.js';
import { counted } from '../screens/format.js';
import { planArguments, type SettingsOf } from '../settings.js';

/** This process's name in leases and in the ledger of runs. */
export const PROCESS_NAME = `${hostname()}:${process.pid}`;

/** The line about a planned run. */
export const describePlan = (runId: string | number, rows: number, batches?: number): string =>
  `run ${runId} planned: ${counted(rows, 'row')}${batches === undefined ? '' : ` in ${counted(batches, 'batch', 'batches')}`}`;

/** Which rows a run takes, and what an operator has decided about it. */
export interface RunRequest {
  scope: string;
  ids: number[] | null;
  /** The gauges of the brake that do not stop it. */
  accept: string[];
  /** Whether the cron asks for it. */
  scheduled: boolean;
}

/**
 * Has a run planned, and logs what the database says of it, such as that it was open and keeps its own settings. Returns null
 * where the cron may plan nothing until a person has acted.
 */
export async function plan(
  sql: Sql,
  settings: SettingsOf<'run'>,
  request: RunRequest,
  notices: Notice[],
): Promise<string | null> {
  const set = planArguments(settings);
  const [planned] = await sql<[{ run_id: string | null }]>`
    select run_id from identity_sync.plan_identity_run(
      scope => ${request.scope}, ids => ${request.ids},
      stale_days => ${set.stale_days}, unresolved_retry_days => ${set.unresolved_retry_days},
      include_null_canonical => ${set.include_null_canonical},
      partition_index => ${set.partition_index}, partition_count => ${set.partition_count},
      batch_size => ${set.batch_size}, va_batch_size => ${set.va_batch_size},
      dry_run => ${set.dry_run}, strict_bands => ${set.strict_bands},
      lanes => ${set.lanes}, opened_by => ${PROCESS_NAME},
      accept => ${request.accept}, scheduled => ${request.scheduled},
      deadline_minutes => ${set.deadline_minutes}, call_budget => ${set.call_budget}) as run_id`;
  for (const { severity, message } of notices.splice(0)) {
    const line = { step: 'plan', run_id: Number(planned.run_id) };
    if (severity === 'WARNING') log.warn(line, message);
    else log.info(line, message);
  }
  return planned.run_id;
}
