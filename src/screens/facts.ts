// What the screen of `status` and the page say in the same words.
import { count, counted, duration } from './format.js';
import type { OpenRun, Status } from './status.js';

export const scopeOf = ({ scope, dry_run }: { scope: string; dry_run: boolean }) =>
  dry_run ? `${scope}, dry` : scope;

/** How far an open run is, but for its share. */
export const progressOf = (run: OpenRun): string[] => [
  `${count(run.done)} of ${count(run.planned)} rows`,
  ...(run.failed > 0 ? [`${count(run.failed)} failed`] : []),
  ...(run.rows_per_second === null ? [] : [`${count(Math.round(run.rows_per_second))} rows/s`]),
  ...(run.seconds_left === null ? [] : [`${duration(run.seconds_left * 1000)} left`]),
  `${counted(run.calls_in_flight, 'call')} in flight`,
];

const REASONS: Record<string, string> = {
  stale: 'stale',
  never_asked: 'never asked',
  renamed: 'renamed',
  released: 'released',
  in_vain: 'in vain, window over',
};

/** Why rows are due, and how many for it, the most first. */
export const dueReasons = ({ due_by_reason: due }: Status['catalogue']): string[] =>
  Object.entries(REASONS)
    .map(([key, words]) => [due[key] ?? 0, words] as const)
    .filter(([number]) => number > 0)
    .sort(([one], [other]) => other - one)
    .map(([number, words]) => `${count(number)} ${words}`);

/** What the rows are that are not due. */
export const NOT_DUE = [
  ['fresh', 'fresh'],
  ['waiting', 'in vain, waiting'],
  ['held', 'held by hand'],
  ['not_on_discogs', 'not on Discogs'],
  ['not_canonical', 'not canonicalized'],
  ['no_name', 'no artist name'],
  ['unknown_age', 'of unknown age'],
] as const;

/** What keeps the gate open. */
export const CAUSES = [
  ['compilation', 'compilations (never have an identity)'],
  ['unresolved', 'unresolved'],
  ['never_asked', 'never asked'],
  ['refused', 'refused'],
  ['no_name', 'no artist name'],
  ['not_on_discogs', 'not on Discogs'],
  ['other', 'other'],
] as const;
