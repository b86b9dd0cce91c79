// Reports to Sentry how runs ended.
import type { Sql } from '../database/connect.js';
import type { SettingsOf } from '../settings.js';
import { describeFailure, log } from './log.js';
import type { Observer, SentrySettings } from './sentry.js';

/** Reports finished runs to Sentry, each once across all processes. Never throws. */
export async function reportEndedRuns(
  sql: Sql,
  observer: Observer,
  settings: SettingsOf<'run'>,
): Promise<void> {
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
    log.warn({ step: 'sentry', ...describeFailure(error) }, 'the end of a run could not be reported');
  }
}

/** When scheduled runs are expected, and how long they may take. */
export function monitorOf(settings: SettingsOf<'run'>): { cron: string; maxMinutes: number } {
  return { cron: settings.PLAN_CRON, maxMinutes: settings.RUN_DEADLINE_MINUTES };
}

/** What Sentry is started with. */
export function sentrySettings(settings: SettingsOf<'run'>): SentrySettings {
  return {
    dsn: settings.SENTRY_DSN,
    tracesSampleRate: settings.SENTRY_TRACES_SAMPLE_RATE,
    release: settings.SENTRY_RELEASE,
  };
}
