// What the product is to reach, and whether it did.
import {
  type Compared,
  JSON_FLOOR,
  JSON_FLOOR_TWO,
  LANE,
  LANE_TWO,
  type Pass,
  ROW_BY_ROW,
  RUN,
  TYPED_FLOOR,
} from './comparison.js';
import { type Aged, ASKED, type Grown } from './growth.js';
import type { Measurement, Usage } from './server.js';

export interface Slow {
  usage: Usage;
  calls: number;
  latencySeconds: number;
  concurrency: number;
}

export interface Measured {
  rows: number;
  compared: Compared[];
  grown: Grown[];
  aged: Aged | null;
  slow: Slow | null;
}

export interface Goal {
  goal: string;
  bound: string;
  /** Null where what it needs was not measured. */
  measured: string | null;
  met: boolean | null;
}

const CATALOGUE = 64_676;

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios are the medians of the rounds' own ratios, since the machine drifts from round to round. */
export function judgeGoals({ rows, compared, grown, aged, slow }: Measured): Goal[] {
  const variant = (name: string) => compared.find((each) => each.variant === name);
  const size = (count: number) => grown.find((each) => each.rows === count);

  /** What a verdict costs in one pass over what it costs in another. */
  function ratio(
    cost: (each: Measurement) => number,
    one: [string, Pass],
    other: [string, Pass],
  ): number | null {
    const [above, below] = [variant(one[0]), variant(other[0])];
    if (!above || !below) return null;
    const divisors = below.passes[other[1]].map((each) => cost(each) / below.rows);
    const value = median(
      above.passes[one[1]].map((each, round) => cost(each) / above.rows / divisors[round]!),
    );
    return Number.isNaN(value) ? null : value;
  }
  const seconds = (each: Measurement) => each.seconds;
  const walBytes = (each: Measurement) => each.walBytes;
  /** All processors' time but that of what plays LML. */
  const cpuSeconds = (each: Measurement) => (each.serverCpuSeconds ?? Number.NaN) + each.nodeCpuSeconds;

  /** How many times faster than row by row a variant writes at first. */
  const gain = (name: string) => ratio(seconds, [ROW_BY_ROW, 'first write'], [name, 'first write']);

  const run = variant(RUN);
  const lane = variant(LANE);
  const [catalogue, quarter, million] = [size(CATALOGUE), size(250_000), size(1_000_000)];
  const drained = million?.drain && catalogue?.drain;
  const [big, small] = drained ? [million.drain, catalogue.drain] : [million?.fewDue, catalogue?.fewDue];
  const peaks = [
    ...(run ? Object.values(run.passes).flat() : []),
    ...grown.flatMap((each) => [each.fewDue, ...each.nothingDue, each.drain ?? []].flat()),
    ...(slow ? [slow.usage] : []),
  ].map((usage) => usage.nodeMegabytes!);

  return [
    atLeast('first write, row by row ÷ a lane over one connection', 20, '×', gain(LANE)),
    atLeast('first write, row by row ÷ a lane over two connections', 33, '×', gain(LANE_TWO)),
    atMost(
      'first write, a lane ÷ floor from JSON text',
      1.25,
      '×',
      ratio(seconds, [LANE, 'first write'], [JSON_FLOOR, 'first write']),
    ),
    atMost(
      'first write, a lane ÷ floor from typed staging',
      1.6,
      '×',
      ratio(seconds, [LANE, 'first write'], [TYPED_FLOOR, 'first write']),
    ),
    atMost(
      `first run without latency, ${rows.toLocaleString('en')} rows`,
      4,
      's',
      run ? median(run.passes['first write'].map((each) => each.seconds)) : null,
    ),
    atLeast('first write, row by row ÷ the whole run', 14, '×', gain(RUN)),
    atMost(
      'first write, the whole run ÷ floor from JSON text, both over two connections',
      1.5,
      '×',
      ratio(seconds, [RUN, 'first write'], [JSON_FLOOR_TWO, 'first write']),
    ),
    atMost(
      'the same in time of the processors, without that of what plays LML',
      1.5,
      '×',
      ratio(cpuSeconds, [RUN, 'first write'], [JSON_FLOOR_TWO, 'first write']),
    ),
    atMost(
      'a lane, nothing changed ÷ first write',
      0.65,
      '×',
      ratio(seconds, [LANE, 'nothing changed'], [LANE, 'first write']),
    ),
    atMost(
      'nothing changed, WAL of a lane ÷ row by row',
      1 / 6,
      '×',
      ratio(walBytes, [LANE, 'nothing changed'], [ROW_BY_ROW, 'nothing changed']),
    ),
    atMost(
      'a lane, 1 % changed ÷ nothing changed',
      1.15,
      '×',
      ratio(seconds, [LANE, '1 % changed'], [LANE, 'nothing changed']),
    ),
    atMost(
      `a run with nothing due, whole process, ${CATALOGUE.toLocaleString('en')} rows`,
      0.4,
      's',
      catalogue ? median(catalogue.nothingDue.map((each) => each.seconds)) : null,
    ),
    atMost(
      'planning with 1,000 due, 1,000,000 rows ÷ 250,000',
      4,
      '×',
      million && quarter ? median(million.planning) / median(quarter.planning) : null,
    ),
    atMost('planning with 1,000 due, 1,000,000 rows', 1, 's', million ? median(million.planning) : null),
    ...Object.entries(ASKED).map(([name, { seconds }]) =>
      atMost(
        `${name}, a million rows and 1,000 runs`,
        seconds,
        's',
        aged ? median(aged.asked[name as keyof typeof ASKED].seconds) : null,
      ),
    ),
    atLeast(
      'claims by 32 lanes that finish their calls of 10 rows',
      100,
      '/s',
      aged ? aged.claims.claims / aged.claims.seconds : null,
    ),
    atMost('round trips a verdict, the whole run', 0.02, '', run ? run.roundTrips / run.rows : null),
    atMost(
      'round trips a verdict, claims and answers of a lane',
      0.02,
      '',
      lane ? lane.roundTrips / lane.rows : null,
    ),
    within(
      'a run at 1.9 s a call, concurrency 4 ÷ calls × 1.9 s ÷ 4',
      0.05,
      slow ? slow.usage.seconds / ((slow.calls * slow.latencySeconds) / slow.concurrency) : null,
    ),
    atMost('peak memory of Node', 120, 'MB', peaks.length > 0 ? Math.max(...peaks) : null),
    within(
      `peak memory of Node, ${drained ? 'a drain' : '1,000 due'}, 1,000,000 rows ÷ ${CATALOGUE.toLocaleString('en')}`,
      0.15,
      big && small ? big.nodeMegabytes! / small.nodeMegabytes! : null,
    ),
  ];
}

function atLeast(goal: string, bound: number, unit: string, measured: number | null): Goal {
  return { goal, bound: `≥ ${show(bound, unit)}`, ...judge(measured, unit, (value) => value >= bound) };
}

function atMost(goal: string, bound: number, unit: string, measured: number | null): Goal {
  return { goal, bound: `≤ ${show(bound, unit)}`, ...judge(measured, unit, (value) => value <= bound) };
}

function within(goal: string, share: number, measured: number | null): Goal {
  return { goal, bound: `1 ± ${share}`, ...judge(measured, '', (value) => Math.abs(value - 1) <= share) };
}

function judge(measured: number | null, unit: string, isMet: (value: number) => boolean) {
  if (measured === null) return { measured: null, met: null };
  return { measured: show(measured, unit), met: isMet(measured) };
}

/** Four digits that count, without trailing noughts. */
function show(value: number, unit: string): string {
  return `${Number(value.toPrecision(4))} ${unit}`.trim();
}
