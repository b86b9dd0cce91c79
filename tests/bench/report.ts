// What a person reads: the tables.
import { table as drawTable } from '../../src/screens/table.js';
import { type Compared, PASSES, ROW_BY_ROW, RUN } from './comparison.js';
import { type Goal, type Measured, median } from './goals.js';
import type { Measurement } from './server.js';

/** The medians over the rounds, a table a pass. */
export function comparisonTables(compared: Compared[]): string {
  return PASSES.map(({ name }) => {
    const rowByRow = compared.find((each) => each.variant === ROW_BY_ROW);
    const lines = compared.map(({ variant, rows, roundTrips, passes }) => {
      const measurements = passes[name];
      const of = (value: (each: Measurement) => number | null, digits: number) =>
        show(middle(measurements, value), digits);
      const microseconds = (each: Measurement, count: number) => (each.seconds * 1e6) / count;
      const gains = measurements.map((each, round) =>
        rowByRow
          ? microseconds(rowByRow.passes[name][round]!, rowByRow.rows) / microseconds(each, rows)
          : Number.NaN,
      );
      return [
        variant,
        rows.toLocaleString('en'),
        of((each) => each.seconds, 2),
        of((each) => microseconds(each, rows), 1),
        Math.round(rows / median(measurements.map((each) => each.seconds))).toLocaleString('en'),
        `${median(gains).toFixed(1)} ×`,
        of((each) => each.walBytes / rows, 0),
        of((each) => (each.walFullPageBytes === null ? null : each.walFullPageBytes / rows), 0),
        of((each) => (each.updates === 0 ? null : (100 * each.hotUpdates) / each.updates), 0),
        of((each) => each.grownBytes / rows, 0),
        show(roundTrips / rows, 4),
        of((each) => (each.nodeCpuSeconds * 1e6) / rows, 1),
        of((each) => each.nodeMegabytes, 0),
        of((each) => (each.serverCpuSeconds === null ? null : (each.serverCpuSeconds * 1e6) / rows), 1),
      ];
    });
    const head = [
      name,
      'rows',
      's',
      'µs',
      'rows/s',
      'gain',
      'WAL B',
      'of pages',
      'HOT %',
      'growth B',
      'round trips',
      'Node µs',
      'Node MB',
      'server µs',
    ];
    return table(head, lines);
  }).join('\n');
}

/** What a whole run shares the machine with: empty where none was measured. */
export function lmlLine(compared: Compared[]): string {
  const run = compared.find((each) => each.variant === RUN);
  if (!run) return '';
  const microseconds = run.passes['first write'].map((each) => (each.lmlCpuSeconds! * 1e6) / run.rows);
  return `Beside ${RUN}, what plays LML takes ${show(median(microseconds), 1)} µs of a processor a verdict.`;
}

export function growthTable({ grown }: Measured): string {
  const head = ['rows', 'planning, s', 'nothing due, s', '1,000 due, s', 'MB', 'drain, s', 'rows/s', 'MB'];
  const lines = grown.map(({ rows, planning, nothingDue, fewDue, drain }) => [
    rows.toLocaleString('en'),
    show(median(planning), 3),
    show(median(nothingDue.map((usage) => usage.seconds)), 2),
    show(fewDue.seconds, 2),
    show(fewDue.nodeMegabytes, 0),
    show(drain?.seconds ?? null, 1),
    drain ? Math.round(rows / drain.seconds).toLocaleString('en') : '–',
    show(drain?.nodeMegabytes ?? null, 0),
  ]);
  return table(head, lines);
}

export function agedTable({ aged }: Measured): string {
  if (!aged) return '';
  const lines = Object.entries(aged.asked).map(([name, { seconds, cpuSeconds }]) => [
    name,
    show(median(seconds), 3),
    show(median(cpuSeconds), 3),
  ]);
  const { claims, seconds, claimMs, finishMs } = aged.claims;
  return [
    table(
      [`${aged.rows.toLocaleString('en')} rows, ${aged.runs.toLocaleString('en')} runs`, 's', 'CPU s'],
      lines,
    ),
    `${Math.round(claims / seconds)} claims a second; a claim takes ${show(claimMs, 1)} ms of the server's processor, and`,
    `finishing its call ${show(finishMs, 1)} ms`,
  ].join('\n');
}

export function goalsTable(goals: Goal[]): string {
  const word = (met: boolean | null) => (met === null ? '' : met ? 'met' : 'NOT MET');
  const lines = goals.map(({ goal, bound, measured, met }) => [
    goal,
    bound,
    measured ?? 'not measured',
    word(met),
  ]);
  return table(['goal', 'bound', 'measured', ''], lines, ['left', 'right', 'right', 'left']);
}

/** A table of any width; its first column is words, and the others numbers unless told otherwise. */
export function table(head: string[], lines: string[][], align?: ('left' | 'right')[]): string {
  const columns = head.map((title, index) => ({
    title,
    cell: (line: string[]) => line[index]!,
    ...((align?.[index] ?? (index === 0 ? 'left' : 'right')) === 'right' && { align: 'right' as const }),
  }));
  return drawTable(columns, lines, Number.POSITIVE_INFINITY).join('\n');
}

/** The median of what was measured, or null where it could not be. */
function middle(measurements: Measurement[], value: (each: Measurement) => number | null): number | null {
  const values = measurements.flatMap((each) => value(each) ?? []);
  return values.length === 0 ? null : median(values);
}

function show(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined ? '–' : value.toFixed(digits);
}
