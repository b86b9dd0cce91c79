// What a run is asked for, by a person or by the cron, and the one call that plans it.
import { hostname } from 'node:os';
import type { Sql } from '../database/connect.js';
import { describeFailure, log } from '../observe/log.js';
import type { Observer, SentrySettings } from '../observe/sentry.js';
import type { Settings } from '../settings.js';

/** This process's name in leases and in the ledger of runs. */
export const PROCESS_NAME = `${hostname()}:${process.pid}`;

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
  'RUN_DEADLINE_MINUTES',
  'LML_CALL_BUDGET',
  'STALE_THRESHOLD_DAYS',
  'UNRESOLVED_RETRY_DAYS',
  'INCLUDE_NULL_CANONICAL',
  'RECHECK',
  'DRY_RUN',
  'STRICT_BANDS',
  'PARTITION_INDEX',
  'PARTITION_COUNT',
  'PLAN_CRON',
  'SENTRY_DSN',
  'SENTRY_TRACES_SAMPLE_RATE',
  'SENTRY_RELEASE',
] as const satisfies (keyof Settings)[];

/** Which rows a run asks for, who wants it, and what an operator has decided about it. */
export interface Which {
  scope: string;
  ids: number[] | null;
  acceptUnresolved: boolean;
  scheduled: boolean;
}

export type RunSettings = Pick<Settings, (typeof RUN_SETTINGS)[number]>;

/** What Sentry is started with. */
export function sentrySettings(settings: RunSettings): SentrySettings {
  return {
    dsn: settings.SENTRY_DSN,
    tracesSampleRate: settings.SENTRY_TRACES_SAMPLE_RATE,
    release: settings.SENTRY_RELEASE,
  };
}

/** Has a run planned; null where the cron is kept from planning until a person has acted. */
export async function plan(sql: Sql, settings: RunSettings, which: Which): Promise<string | null> {
  const [planned] = await sql<[{ run_id: string | null }]>`
    select run_id from identity_sync.plan_identity_run(
      scope => ${which.scope}, ids => ${which.ids},
      stale_days => ${settings.STALE_THRESHOLD_DAYS}, unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
      include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL},
      partition_index => ${settings.PARTITION_INDEX}, partition_count => ${settings.PARTITION_COUNT},
      batch_size => ${settings.BATCH_SIZE}, va_batch_size => ${settings.VA_BATCH_SIZE},
      dry_run => ${settings.DRY_RUN}, strict_bands => ${settings.STRICT_BANDS},
      lanes => ${settings.LML_CONCURRENCY}, opened_by => ${PROCESS_NAME},
      accept_unresolved => ${which.acceptUnresolved}, scheduled => ${which.scheduled},
      deadline_minutes => ${settings.RUN_DEADLINE_MINUTES}, call_budget => ${settings.LML_CALL_BUDGET ?? null}) as run_id`;
  return planned.run_id;
}

/**
 * Tells Sentry, where there is one, of every run that has ended and that no other process has told of. Telling never
 * breaks what was told of.
 */
export async function tellEndedRuns(sql: Sql, observer: Observer, settings: RunSettings): Promise<void> {
  if (settings.SENTRY_DSN === undefined) return;
  try {
    const ended = await sql<
      { run_id: string; trace_id: string; scheduled: boolean; report: Record<string, unknown> }[]
    >`
      select run_id, trace_id, scheduled, report from identity_sync.take_unreported_runs()`;
    for (const { run_id: runId, trace_id: traceId, scheduled, report } of ended) {
      const run = { runId, traceId };
      observer.runEnded(run, report);
      const status = report.outcome === 'completed' ? 'ok' : 'error';
      if (scheduled) observer.checkedIn(run, { status, ...monitorOf(settings) });
    }
  } catch (error) {
    log.warn({ step: 'sentry', ...describeFailure(error) }, 'the end of a run could not be told of');
  }
}

/** When scheduled runs are expected, and how long they may take. */
export function monitorOf(settings: RunSettings): { cron: string; maxMinutes: number } {
  return { cron: settings.PLAN_CRON, maxMinutes: settings.RUN_DEADLINE_MINUTES };
}
