// The end of a run as a person reads it.
import { expect, test } from 'vitest';
import type { RunReport } from '../../src/observe/ended-runs.js';
import { operationScreen, runEndScreen } from '../../src/screens/run-end.js';

const report: RunReport = {
  ...{ run_id: 211, dry_run: false, planned: 9113, scanned: 9113, left: 0, batches: 31, failed_batches: 0 },
  ...{ rows_resolved: 8684, rows_resolved_compilation: 41, rows_unresolved: 386 },
  rows_skipped: { invalid_verdict: 2, writer_error: 0 },
  identity: { inserted: 41, changed: 12, unchanged: 8631 },
  source: {},
  compilation_track: { written: 211, unlinked: 0, unchanged: 7 },
  ...{ held_by_others: 0, held_ids: [], held_by_runs: [], lml_total_calls: 31, warnings: [], quarantined: 2 },
  ...{ started_at: '2026-11-27T03:17:00Z', finished_at: '2026-11-27T03:18:42Z' },
  ...{ outcome: 'completed', outcome_reason: null, stop_cause: null },
};

test('it says how it went, what became of the rows, and the next command', () => {
  expect(runEndScreen(report, 200)).toEqual([
    'run 211 completed in 1 min 42 s: 9,113 rows in 31 calls',
    '  8,684 resolved (12 changed, 41 new, 8,631 confirmed) · 386 unresolved · 41 compilations (track links: 211 written) · 2 invalid_verdict',
    '  2 refused → quarantine: identity-sync quarantine --run 211',
  ]);
  expect(Math.max(...runEndScreen(report, 60).map((line) => line.length))).toBeLessThanOrEqual(60);
});

test('a run that stopped says why and what is left, a dry run how to look at it and to write it, and one of another goes on', () => {
  const stopped = {
    ...report,
    scanned: 1000,
    left: 8113,
    outcome: 'stopped',
    outcome_reason: 'by hand',
  } as const;
  const [head, , ...rest] = runEndScreen(stopped, 200);
  expect(head).toBe('run 211 stopped in 1 min 42 s: 1,000 of 9,113 rows in 31 calls');
  expect(rest).toEqual([
    '  by hand',
    expect.stringContaining('2 refused'),
    '  left for next time: 8,113 rows',
  ]);

  const rehearsed = runEndScreen({ ...report, dry_run: true, quarantined: 0 }, 200);
  expect(rehearsed.slice(-3)).toEqual([
    '  nothing was written',
    '  look, row by row: identity-sync diff --run 211',
    '  write it: identity-sync apply --run 211',
  ]);

  expect(runEndScreen({ ...report, outcome: null }, 200)).toEqual([
    'run 211 goes on with the process that opened it',
  ]);
});

test('what is done by hand says in words what became of its rows, and a dry run that nothing was written', () => {
  const { rows_resolved, rows_skipped, identity, compilation_track } = report;
  const applied = { scanned: 2, rows_resolved, rows_skipped, identity, compilation_track };
  expect(operationScreen(applied, true, false, 200)).toEqual([
    '2 rows: 8,684 resolved (12 changed, 41 new, 8,631 confirmed) · 2 invalid_verdict',
  ]);
  expect(operationScreen(applied, false, false, 200)).toEqual([
    expect.stringContaining('2 invalid_verdict'),
    'more were refused than settled: identity-sync quarantine',
  ]);
  const rehearsed = { scanned: 1, would_resolve: 1, would_skip: { invalid_verdict: 0 } };
  expect(operationScreen(rehearsed, true, true, 200)).toEqual([
    'dry run, nothing was written. 1 row: 1 resolved',
  ]);
  expect(operationScreen({ scanned: 0, rows_skipped: {} }, true, false, 200)).toEqual([
    '0 rows: nothing to do',
  ]);
});
