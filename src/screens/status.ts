// How things stand, on one screen: what needs a person first, each with the command that cures it.
import { CAUSES, dueReasons, NOT_DUE, progressOf, scopeOf } from './facts.js';
import { age, clock, count, duration, percent, printable } from './format.js';
import { flow, type Palette, plain, wrapped } from './lines.js';
import { calmOf, how, needsOf } from './needs.js';
import { table } from './table.js';

interface Hold {
  name: string;
  reason: string;
  run_id: number | null;
  since: string;
  ends_at: string | null;
  cures: { purpose: string; command: string }[];
}

export interface OpenRun {
  run_id: number;
  scope: string;
  dry_run: boolean;
  stop_reason: string | null;
  planned: number;
  done: number;
  failed: number;
  rows_per_second: number | null;
  seconds_left: number | null;
  calls_in_flight: number;
  waits: { kind: string; until: string | null; what: string }[];
}

export interface EndedRun {
  run_id: number;
  scope: string;
  dry_run: boolean;
  outcome: string;
  outcome_reason: string | null;
  stop_cause: string | null;
  finished_at: string;
  planned: number;
  scanned: number;
  new: number;
  changed: number;
  confirmed: number;
  unresolved: number;
  refused: number;
  left: number;
}

interface Worker {
  name: string;
  version: string | null;
  plan_cron: string | null;
  is_alive: boolean;
  seen_at: string;
}

interface Refused {
  outcome: string;
  field: string | null;
  sqlstate: string | null;
  entries: number;
}

/** What identity_status returns: the keys that this screen shows. */
export interface Status {
  at: string;
  planning: { holds: Hold[]; crons: string[]; last_success_at: string | null };
  open_runs: OpenRun[];
  runs: EndedRun[];
  workers: Worker[];
  lml: {
    calls_in_flight: number;
    concurrency: number | null;
    recent_calls: number;
    recent_failures: number;
    p50_ms: number | null;
    p95_ms: number | null;
    last_answer: { at: string; http_status: number | null; failure: string | null } | null;
  };
  catalogue: Record<
    | 'rows'
    | 'identified'
    | 'due'
    | 'fresh'
    | 'waiting'
    | 'held'
    | 'not_canonical'
    | 'not_on_discogs'
    | 'no_name'
    | 'unknown_age',
    number
  > & { due_by_reason: Record<string, number> };
  quarantine: { entries: number; by_reason: Refused[] };
  coverage: Record<string, { libraries: number; share: number; methods: Record<string, number> }>;
  gate: Record<(typeof CAUSES)[number][0] | 'truly_unresolved' | 'allowed', number> & {
    is_complete: boolean;
  };
}

/** When each crontab time comes next, which the database does not know. */
export type Ticks = Map<string, Date | null>;

const HEAD = 10;
const head = (title: string) => title.padEnd(HEAD);

export function statusScreen(status: Status, ticks: Ticks, width: number, colors: Palette = plain): string[] {
  const now = new Date(status.at);
  return [
    ...urgent(status, width, now, colors),
    ...openRuns(status, width, now, colors),
    ...endedRuns(status, width, now),
    ...planning(status, ticks, width, now),
    '',
    ...workers(status, width, now, colors),
    '',
    ...catalogue(status, width),
    ...coverage(status, width),
    '',
    ...gate(status, width),
  ];
}

/** The first line answers the question whether a person has to act. */
function urgent(status: Status, width: number, now: Date, colors: Palette): string[] {
  const lines: string[] = [];
  const problem = (words: string, cures: { purpose: string; command: string }[]) => {
    lines.push(...wrapped('  ', words, width));
    const named = Math.max(...cures.map(({ purpose }) => purpose.length), 0) + 2;
    const isNarrow = cures.some(({ command }) => 4 + named + command.length > width);
    for (const { purpose, command } of cures) {
      if (isNarrow) lines.push(`    ${purpose}:`, ...wrapped('      ', command, width));
      else lines.push(`    ${`${purpose}:`.padEnd(named)}${command}`);
    }
  };

  for (const { what, why, cures } of needsOf(status, now))
    problem(why === null ? what : `${what}: ${printable(why)}`, cures);
  if (lines.length > 0) return [colors.bold(colors.red('NEEDS YOU')), ...lines, ''];
  return [colors.bold(colors.green(calmOf(status))), ''];
}

const BAR = 16;

function openRuns({ open_runs: runs }: Status, width: number, now: Date, colors: Palette): string[] {
  const lines = runs.flatMap((run) => {
    const share = run.planned === 0 ? 0 : run.done / run.planned;
    const filled = Math.round(share * BAR);
    const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${percent(share)}`;
    const facts = [`${run.run_id} ${scopeOf(run)}  ${bar}`, ...progressOf(run)];
    const stops = run.stop_reason === null ? [] : [`stopping: ${printable(run.stop_reason)}`];
    const waits = run.waits.map(({ what, until }) => {
      const end = until === null ? '' : `, until ${clock(until)} (${age(until, now)})`;
      return `waits: ${printable(what)}${end}`;
    });
    return [
      ...flow(head('OPEN'), facts, width),
      ...[...stops, ...waits].flatMap((words) => wrapped(' '.repeat(HEAD), words, width)).map(colors.yellow),
    ];
  });
  return lines.length === 0 ? [] : [...lines, ''];
}

function endedRuns({ runs }: Status, width: number, now: Date): string[] {
  if (runs.length === 0) return [`${head('RUNS')}none has ended`];
  const numbers = ['changed', 'new', 'confirmed', 'unresolved', 'refused', 'left'] as const;
  const ranks = { changed: 1, new: 4, confirmed: 6, unresolved: 5, refused: 2, left: 3 };
  const rows = table<EndedRun>(
    [
      { title: 'run', cell: ({ run_id }) => String(run_id), align: 'right' },
      { title: 'scope', cell: scopeOf },
      { title: 'outcome', cell: how },
      { title: 'ended', cell: ({ finished_at }) => age(finished_at, now) },
      {
        title: 'rows',
        cell: ({ scanned, planned }) =>
          scanned === planned ? count(scanned) : `${count(scanned)} of ${count(planned)}`,
        align: 'right',
        rank: 7,
      },
      ...numbers.map((name) => ({
        title: name,
        cell: (run: EndedRun) => count(run[name]),
        align: 'right' as const,
        rank: ranks[name],
      })),
    ],
    runs,
    width - HEAD,
  );
  return rows.map((row, index) => (index === 0 ? head('RUNS') : ' '.repeat(HEAD)) + row);
}

function planning({ planning }: Status, ticks: Ticks, width: number, now: Date): string[] {
  const hold = planning.holds.length > 0 ? ', on hold' : '';
  const next = planning.crons.flatMap((cron) => {
    const tick = ticks.get(cron);
    const when = tick ? [`next tick ${clock(tick)}, ${age(tick, now)}${hold}`] : [];
    return [...when, `cron ${printable(cron)}`];
  });
  const success = planning.last_success_at;
  return flow(
    ' '.repeat(HEAD),
    [
      ...(next.length === 0 ? ['no next tick: start identity-sync worker'] : next),
      success === null ? 'no run has succeeded yet' : `last success ${clock(success)}, ${age(success, now)}`,
    ],
    width,
  );
}

function workers({ workers, lml }: Status, width: number, now: Date, colors: Palette): string[] {
  const alive = workers.filter(({ is_alive }) => is_alive);
  const names = alive.map(
    ({ name, version }) => printable(name) + (version === null ? '' : ` ${printable(version)}`),
  );
  const allowed = lml.concurrency === null ? '' : ` of ${count(lml.concurrency)}`;
  const answer = lml.last_answer;
  const last =
    answer === null
      ? 'never asked'
      : `last ${answer.http_status === null ? 'call' : 'answer'} ${age(answer.at, now)} (${answer.http_status ?? 'no answer'})`;
  const failure = answer?.failure ?? null;
  const pace =
    lml.p50_ms === null || lml.p95_ms === null
      ? []
      : [`p50 ${duration(lml.p50_ms)}, p95 ${duration(lml.p95_ms)}`];
  const failures = `${count(lml.recent_failures)} of the last ${count(lml.recent_calls)} calls failed`;
  return [
    ...flow(
      head('WORKERS'),
      [
        names.length === 0 ? 'none alive' : `${count(names.length)} alive: ${names.join(', ')}`,
        `${count(lml.calls_in_flight)}${allowed} calls in flight`,
      ],
      width,
    ),
    ...[
      ...flow(head('LML'), [last, ...pace, ...(lml.recent_failures > 0 ? [failures] : [])], width),
      ...(failure === null ? [] : wrapped(' '.repeat(HEAD), printable(failure), width)),
    ].map((line) => (lml.recent_failures > 0 ? colors.yellow(line) : line)),
  ];
}

function catalogue({ catalogue: rows }: Status, width: number): string[] {
  const [first, ...rest] = dueReasons(rows);
  const indent = ' '.repeat(HEAD);
  return [
    `${head('CATALOGUE')}${count(rows.rows)} rows`,
    ...flow(
      indent,
      [first === undefined ? `due now ${count(rows.due)}` : `due now ${count(rows.due)}: ${first}`, ...rest],
      width,
    ),
    ...flow(
      indent,
      NOT_DUE.filter(([key]) => rows[key] > 0 || key === 'fresh').map(
        ([key, words]) => `${words} ${count(rows[key])}`,
      ),
      width,
    ),
  ];
}

function coverage({ coverage, catalogue }: Status, width: number): string[] {
  const composed = coverage.composed;
  const share = catalogue.rows === 0 ? 0 : catalogue.identified / catalogue.rows;
  const methods = Object.entries(composed?.methods ?? {})
    .sort(([, one], [, other]) => other - one)
    .map(([method, libraries]) => `${printable(method)} ${percent(libraries / composed!.libraries)}`);
  const sources = Object.entries(coverage)
    .filter(([source]) => source !== 'composed')
    .sort(([, one], [, other]) => other.libraries - one.libraries)
    .map(([source, known]) => `${printable(source)} ${percent(known.share)}`);
  const indent = ' '.repeat(HEAD);
  return [
    ...flow(indent, [`identified ${percent(share)}`, ...methods], width),
    ...(sources.length === 0 ? [] : flow(indent, sources, width)),
  ];
}

function gate({ gate }: Status, width: number): string[] {
  const causes = CAUSES.filter(([key]) => gate[key] > 0)
    .sort(([one], [other]) => gate[other] - gate[one])
    .map(([key, words]) => `${count(gate[key])} ${words}`);
  const state = gate.is_complete ? 'complete' : 'open';
  return [
    ...flow(
      head('GATE'),
      [`${state}: ${count(gate.truly_unresolved)} truly unresolved, ${count(gate.allowed)} allowed`],
      width,
    ),
    ...(causes.length === 0 ? [] : flow(' '.repeat(HEAD), causes, width)),
  ];
}
