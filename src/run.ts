import { setTimeout as sleep } from 'node:timers/promises';
import type { Carrier } from './carry.js';
import type { Settings } from './config.js';
import { connectDatabase, type Sql } from './database.js';
import { connectLml } from './lml.js';
import { log } from './log.js';
import { startProgress } from './progress.js';
import { PROCESS_NAME, startWorker } from './worker.js';

export const RUN_SETTINGS = [
  'DATABASE_URL',
  'LIBRARY_METADATA_URL',
  'LML_API_KEY',
  'BATCH_SIZE',
  'VA_BATCH_SIZE',
  'LML_CONCURRENCY',
  'LML_TIMEOUT_MS',
  'LML_MAX_TRIES',
  'THROTTLE_MS',
  'STALE_THRESHOLD_DAYS',
  'UNRESOLVED_RETRY_DAYS',
  'INCLUDE_NULL_CANONICAL',
  'RECHECK',
  'DRY_RUN',
  'STRICT_BANDS',
  'PARTITION_INDEX',
  'PARTITION_COUNT',
] as const satisfies (keyof Settings)[];

export type RunSettings = Pick<Settings, (typeof RUN_SETTINGS)[number]>;

/** The report of a run as identity_run_report makes it: these are the keys that the command line looks at. */
export interface RunReport {
  run_id: number;
  dry_run: boolean;
  planned: number;
  scanned: number;
  rows_resolved: number;
  rows_unresolved: number;
  rows_skipped: Record<string, number>;
  identity: Record<string, number>;
  source: Record<string, number>;
  left: number;
  batches: number;
  failed_batches: number;
  finished_at: string | null;
  outcome: 'completed' | 'failed' | 'stopped' | null;
  outcome_reason: string | null;
  quarantined: number;
}

const POLL_MS = 250;

/**
 * One run in the foreground: plans it, or joins the same run where it is open, carries its batches until it is over, and
 * returns its report, and the result to print, which for a dry run has a shape of its own. Raising `stop` finishes the batches in flight and leaves the rest due; `strictlyStop` cuts even
 * those off and gives them back.
 */
export async function runOnce(
  settings: RunSettings,
  which: { scope: string; ids: number[] | null },
  stop: AbortSignal,
  strictlyStop: AbortSignal,
): Promise<{ report: RunReport; result: unknown }> {
  const sql = connectDatabase(settings.DATABASE_URL, settings.LML_CONCURRENCY * 2 + 1);
  const lml = connectLml(settings.LIBRARY_METADATA_URL, {
    apiKey: settings.LML_API_KEY,
    timeoutMs: settings.LML_TIMEOUT_MS,
  });
  try {
    const runId = await plan(sql, settings, which);
    const opened = await reportOf(sql, runId);
    log.info(
      { step: 'plan', run_id: opened.run_id, rows: opened.planned, batches: opened.batches },
      'planned',
    );
    if (opened.finished_at !== null) return await resultOf(sql, opened);

    const carrier: Carrier = {
      sql,
      lml,
      concurrency: settings.LML_CONCURRENCY,
      timeoutMs: settings.LML_TIMEOUT_MS,
      maxTries: settings.LML_MAX_TRIES,
      throttleMs: settings.THROTTLE_MS,
      strictlyStop,
    };
    const over = new AbortController();
    const worker = await startWorker(settings.DATABASE_URL, carrier, AbortSignal.any([stop, over.signal]));
    const progress = startProgress(opened.planned);
    try {
      return await resultOf(sql, await follow(sql, runId, worker.promise, stop, progress.show));
    } finally {
      progress.end();
      over.abort();
      await worker.stop();
    }
  } finally {
    await lml.close();
    await sql.end();
  }
}

async function plan(
  sql: Sql,
  settings: RunSettings,
  which: { scope: string; ids: number[] | null },
): Promise<string> {
  const [planned] = await sql<[{ run_id: string }]>`
    select plan_identity_run as run_id from identity_sync.plan_identity_run(
      scope => ${which.scope}, ids => ${which.ids},
      stale_days => ${settings.STALE_THRESHOLD_DAYS}, unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
      include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL},
      partition_index => ${settings.PARTITION_INDEX}, partition_count => ${settings.PARTITION_COUNT},
      batch_size => ${settings.BATCH_SIZE}, va_batch_size => ${settings.VA_BATCH_SIZE},
      dry_run => ${settings.DRY_RUN}, strict_bands => ${settings.STRICT_BANDS},
      lanes => ${settings.LML_CONCURRENCY}, opened_by => ${PROCESS_NAME})`;
  return planned.run_id;
}

/** Watches a run until it is over, or until it is told to stop and nothing of it is in flight any more. */
async function follow(
  sql: Sql,
  runId: string,
  worker: Promise<void>,
  stop: AbortSignal,
  show: (report: RunReport) => void,
): Promise<RunReport> {
  let workerEnded = false;
  const ended = worker.then(() => {
    workerEnded = true;
  });
  let told = false;
  for (;;) {
    const report = await reportOf(sql, runId);
    show(report);
    if (report.finished_at !== null) return report;
    if (workerEnded) throw new Error('the worker ended before the run did');
    if (stop.aborted && !told) {
      told = true;
      await sql`
        select from identity_sync.stop_identity_run(
          run_id => ${runId}, reason => 'stopped by hand', opened_by => ${PROCESS_NAME})`;
      continue;
    }
    await Promise.race([sleep(POLL_MS), ended]);
  }
}

async function reportOf(sql: Sql, runId: string): Promise<RunReport> {
  const [row] = await sql<[{ report: RunReport }]>`
    select identity_run_report as report from identity_sync.identity_run_report(run_id => ${runId})`;
  return row.report;
}

async function resultOf(sql: Sql, report: RunReport): Promise<{ report: RunReport; result: unknown }> {
  if (!report.dry_run) return { report, result: report };
  const [row] = await sql<[{ result: unknown }]>`
    select identity_dry_run_report as result
    from identity_sync.identity_dry_run_report(report => ${JSON.stringify(report)}::text::jsonb)`;
  return { report, result: row.result };
}
