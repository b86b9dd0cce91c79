// What a person sees while a run goes on: log lines as text, the bar below them at any width, and the end of a run.
import { describe, expect, test } from 'vitest';
import { describeRunEnd, type RunReport } from '../../src/observe/ended-runs.js';
import { textLine } from '../../src/observe/log.js';
import { barLine, partsOf, type RunProgress } from '../../src/observe/progress.js';

const AT = new Date('2026-11-27T03:17:00Z');
const quiet = { waits_for: null, waits_until: null };
const half: RunProgress = { planned: 9240, done: 4711, failed: 0, ...quiet };
const pace = { perSecond: 318, leftMs: 14_000 };

test.each<[number, Record<string, unknown>, string, string]>([
  [30, {}, 'run 211 planned', '03:17:00 run 211 planned\n'],
  [40, {}, 'the database is away', '03:17:00 warning: the database is away\n'],
  [50, { code: '28P01', hint: 'Set it.' }, 'no password', '03:17:00 error: no password – Set it.\n'],
  [30, {}, 'two\r\nlines \x1b[2J and a \u202eturn', '03:17:00 two lines  [2J and a  turn\n'],
  [30, {}, 'a \u200fturn, a \u061cturn and a \x9b2J', '03:17:00 a  turn, a  turn and a  2J\n'],
])(
  'a log line for a person says the time, how bad it is, and what happened: %i %j %j',
  (level, fields, words, line) => {
    expect(textLine(AT, level, fields, words)).toBe(line);
  },
);

describe('the bar', () => {
  test('has all there is to say where there is room', () => {
    expect(barLine(partsOf(half, pace), half, 200)).toBe(
      '▕███████        ▏  50 %  4,711 of 9,240 rows  318 rows/s  14 s left',
    );
  });

  test.each([1, 10, 20, 40, 60, 80, 120])('fits %i columns, and is never broken', (columns) => {
    const waiting = { ...half, failed: 500, waits_for: 'LML asked for quiet', waits_until: AT };
    for (const now of [half, waiting]) {
      const line = barLine(partsOf(now, pace), now, columns);
      expect(line.length).toBeLessThan(columns);
      if (columns >= 40) expect(line).toMatch(/^(▕█+ +▏ {2})?50 % {2}4,711 of 9,240 rows/);
    }
  });

  test('counts no failed row as done, and names it', () => {
    const failing = { ...half, planned: 100, done: 0, failed: 100 };
    expect(barLine(partsOf(failing, { perSecond: 0, leftMs: 0 }), failing, 200)).toContain(
      '  0 %  0 of 100 rows  100 failed',
    );
  });

  test('names what the run waits for, and for how long', () => {
    const waiting = { ...half, waits_for: 'LML asked for quiet', waits_until: new Date(Date.now() + 40_400) };
    expect(barLine(partsOf(waiting, pace), waiting, 200)).toMatch(
      / {2}4,711 of 9,240 rows {2}waits: LML asked for quiet, 40 s more$/,
    );
  });

  test('moves no cursor, whatever LML said', () => {
    const waiting = { ...half, waits_for: 'LML says \x1b[2J\n', waits_until: null };
    expect(barLine(partsOf(waiting, pace), waiting, 200)).toMatch(/waits: LML says {2}\[2J $/);
  });

  test('of a run of nothing is full', () => {
    const nothing = { ...half, planned: 0, done: 0 };
    expect(barLine(partsOf(nothing, { perSecond: 0, leftMs: 0 }), nothing, 80)).toContain('100 %');
  });
});

const report = {
  ...{ run_id: 211, dry_run: false, scanned: 9113, left: 0, lml_total_calls: 31 },
  ...{
    rows_resolved: 8684,
    rows_resolved_compilation: 41,
    rows_unresolved: 386,
    rows_skipped: { poison_input: 2, lml_error: 0 },
  },
  identity: { inserted: 41, changed: 12, unchanged: 8631 },
  ...{ started_at: '2026-11-27T03:17:00+00:00', finished_at: '2026-11-27T03:18:42.3+00:00' },
  ...{ outcome: 'completed', outcome_reason: null },
} as unknown as RunReport;

test.each<[Partial<RunReport>, string]>([
  [
    {},
    'run 211 completed in 1 min 42 s: 9,113 rows in 31 calls, 8,684 resolved (12 changed, 41 new, 8,631 confirmed), 41 compilations, 386 unresolved, 2 poison_input',
  ],
  [
    {
      ...{
        outcome: 'failed',
        outcome_reason: 'LML was down',
        rows_resolved: 0,
        rows_resolved_compilation: 0,
      },
      ...{ rows_unresolved: 0, rows_skipped: { lml_error: 9113 }, identity: {}, left: 9113, dry_run: true },
    },
    'dry run 211 failed in 1 min 42 s: LML was down; 9,113 rows in 31 calls, 9,113 lml_error, 9,113 left',
  ],
  [{ outcome: null, finished_at: null }, 'run 211 goes on with the process that opened it'],
])('the end of a run in one line: %j', (changes, line) => {
  expect(describeRunEnd({ ...report, ...changes })).toBe(line);
});
