// Reports how runs ended: to the log, and to Sentry where it is on.
import type { Sql } from '../database/connect.js';
import { count, counted, duration } from '../screens/format.js';
import type { SettingsOf } from '../settings.js';
import { log, logFailure } from './log.js';
import type { Observer } from './sentry.js';

/** The report of a run as identity_run_report makes it: these are the keys that the program looks at. */
export interface RunReport {
  run_id: number;
  dry_run: boolean;
  planned: number;
  scanned: number;
  rows_resolved: number;
  rows_resolved_compilation: number;
  rows_unresolved: number;
  rows_skipped: Record<string, number>;
  identity: Record<string, number>;
  source: Record<string, number>;
  compilation_track: Record<string, number>;
  left: number;
  held_by_others: number;
  held_ids: number[];
  held_by_runs: number[];
  batches: number;
  failed_batches: number;
  lml_total_calls: number;
  started_at: string;
  finished_at: string | null;
  outcome: 'completed' | 'failed' | 'stopped' | null;
  outcome_reason: string | null;
  stop_cause: string | null;
  warnings: string[];
  quarantined: number;
}

/**
 * Reports finished runs, each once across all processes, to the log and to Sentry. The run that this process followed is
 * logged by its command. Never throws.
 */
export async function reportEndedRuns(
  sql: Sql,
  observer: Observer,
  settings: SettingsOf<'run'>,
  followed: number | null = null,
): Promise<void> {
  try {
    const ended = await sql<{ run_id: string; trace_id: string; scheduled: boolean; report: RunReport }[]>`
      select run_id, trace_id, scheduled, report from identity_sync.take_unreported_runs()`;
    for (const { run_id: runId, trace_id: traceId, scheduled, report } of ended) {
      if (report.run_id !== followed) logRunEnd(report);
      const run = { runId, traceId };
      observer.runEnded(run, { ...report });
      const status = report.outcome === 'completed' ? 'ok' : 'error';
      if (scheduled) observer.checkedIn(run, { status, ...monitorOf(settings) });
    }
  } catch (error) {
    logFailure('warn', { step: 'report' }, 'the end of a run could not be reported', error);
  }
}

/** Says what an operator should know about a run's end: its warnings, and one line with outcome, cause and counts. */
export function logRunEnd(report: RunReport): void {
  const { run_id, outcome, stop_cause: cause, left, quarantined } = report;
  logWarnings(report);
  const line = { step: 'report', run_id };
  if (quarantined > 0) {
    log.warn(line, `${count(quarantined)} refused → quarantine: identity-sync quarantine --run ${run_id}`);
  }
  const { scanned, rows_resolved: resolved, rows_unresolved: unresolved, lml_total_calls: calls } = report;
  const facts = {
    outcome,
    cause,
    scanned,
    resolved,
    unresolved,
    left,
    calls,
    duration_ms: durationOf(report),
  };
  log[outcome === 'completed' ? 'info' : 'error']({ ...line, ...facts }, describeRunEnd(report));
}

export function logWarnings({ run_id, warnings }: RunReport): void {
  for (const warning of warnings) log.warn({ step: 'report', run_id }, warning);
}

/** The end of a run in one line. */
export function describeRunEnd(report: RunReport): string {
  const { run_id, dry_run, outcome, outcome_reason: reason, left, identity } = report;
  const run = `${dry_run ? 'dry run' : 'run'} ${run_id}`;
  if (outcome === null) return `${run} goes on with the process that opened it`;
  const lasted = durationOf(report);
  const took = lasted === null ? '' : ` in ${duration(lasted)}`;
  const changes = identityCounts(identity);
  const counts = listed({
    resolved: report.rows_resolved,
    compilations: report.rows_resolved_compilation,
    unresolved: report.rows_unresolved,
    ...report.rows_skipped,
    left,
  }).replace(/^[\d,]+ resolved/, (resolved) => (changes === '' ? resolved : `${resolved} (${changes})`));
  const rows = `${counted(report.scanned, 'row')} in ${counted(report.lml_total_calls, 'call')}`;
  const facts = [
    ...(report.scanned > 0 || reason === null ? [rows] : []),
    ...(counts === '' ? [] : [counts]),
  ];
  const words = [
    ...(reason === null ? [] : [reason.replace(/\.$/, '')]),
    ...(facts.length === 0 ? [] : [facts.join(', ')]),
  ];
  return `${run} ${outcome}${took}: ${words.join('; ')}`;
}

/** What became of the identities, as in "12 changed, 41 new". */
export const identityCounts = ({ changed, inserted, unchanged }: RunReport['identity']): string =>
  listed({ changed, new: inserted, confirmed: unchanged });

/** The counts that are not zero, as in "12 changed, 41 new". */
export function listed(counts: Record<string, number | undefined>): string {
  const words = Object.entries(counts).filter(([, sum]) => sum);
  return words.map(([name, sum]) => `${count(sum as number)} ${name}`).join(', ');
}

export function durationOf({ started_at, finished_at }: RunReport): number | null {
  return finished_at === null ? null : Date.parse(finished_at) - Date.parse(started_at);
}

/** When scheduled runs are expected, and how long they may take. */
export function monitorOf(settings: SettingsOf<'run'>): { cron: string; maxMinutes: number } {
  return { cron: settings.PLAN_CRON, maxMinutes: settings.RUN_DEADLINE_MINUTES };
}
