// The end of a run, for a person: how it went, what became of its rows, and what to do about the rest.

import type { Report } from '../database/transaction.js';
import { durationOf, identityCounts, listed, type RunReport } from '../observe/ended-runs.js';
import { count, counted, duration, wrap } from './format.js';

type CountedReport = Pick<
  RunReport,
  | 'identity'
  | 'compilation_track'
  | 'rows_skipped'
  | 'rows_resolved'
  | 'rows_resolved_compilation'
  | 'rows_unresolved'
>;

export function runEndScreen(report: RunReport, width: number): string[] {
  const { run_id, dry_run: isDryRun, outcome, outcome_reason: reason, left, quarantined } = report;
  const run = `${isDryRun ? 'dry run' : 'run'} ${run_id}`;
  if (outcome === null) return wrap(`${run} goes on with the process that opened it`, width);
  const took = durationOf(report);
  const part = report.scanned === report.planned ? '' : `${count(report.scanned)} of `;
  const head = `${run} ${outcome}${took === null ? '' : ` in ${duration(took)}`}: ${part}${counted(report.planned, 'row')} in ${counted(report.lml_total_calls, 'call')}`;
  const next: [when: boolean, words: string][] = [
    [reason !== null, String(reason)],
    [quarantined > 0, `${count(quarantined)} refused → quarantine: identity-sync quarantine --run ${run_id}`],
    [left > 0, `left for next time: ${counted(left, 'row')}`],
    [isDryRun, 'nothing was written'],
    [isDryRun && report.scanned > 0, `look, row by row: identity-sync diff --run ${run_id}`],
    [isDryRun && report.scanned > 0, `write it: identity-sync apply --run ${run_id}`],
  ];
  return [
    ...wrap(head, width),
    ...wrap(countsOf(report), width, '  '),
    ...next.flatMap(([when, words]) => (when ? wrap(words, width, '  ') : [])),
  ];
}

/** What a repair, a replay or an applied preview did, or would do. A dry run has some counts under names of its own. */
export function operationScreen(
  report: Report,
  isSuccess: boolean,
  isDryRun: boolean,
  width: number,
): string[] {
  const counts = countsOf({
    identity: {},
    compilation_track: {},
    rows_resolved: report.would_resolve ?? 0,
    rows_resolved_compilation: report.would_resolve_compilation ?? 0,
    rows_unresolved: report.would_unresolved ?? 0,
    rows_skipped: report.would_skip ?? {},
    ...report,
  } as CountedReport);
  const head = `${counted(Number(report.scanned), 'row')}: ${counts === '' ? 'nothing to do' : counts}`;
  // Of a dry run nothing is left in the quarantine.
  const cure = isSuccess || isDryRun ? '' : 'more were refused than settled: identity-sync quarantine';
  return [...wrap(isDryRun ? `dry run, nothing was written. ${head}` : head, width), ...wrap(cure, width)];
}

function countsOf(report: CountedReport): string {
  const { identity, compilation_track: tracks, rows_skipped: skipped } = report;
  const changes = identityCounts(identity);
  const links = listed({ written: tracks.written, unlinked: tracks.unlinked });
  const {
    rows_resolved: resolved,
    rows_resolved_compilation: compilations,
    rows_unresolved: unresolved,
  } = report;
  return [
    resolved > 0 && `${count(resolved)} resolved${changes === '' ? '' : ` (${changes})`}`,
    unresolved > 0 && `${count(unresolved)} unresolved`,
    compilations > 0 &&
      `${counted(compilations, 'compilation')}${links === '' ? '' : ` (track links: ${links})`}`,
    listed(skipped),
  ]
    .filter(Boolean)
    .join(' · ');
}
