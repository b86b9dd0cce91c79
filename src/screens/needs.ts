// What needs a person, for the screen and the page alike: what is wrong, why, and the commands that cure it.
import { age, clock, count } from './format.js';
import type { EndedRun, Status } from './status.js';

export interface Need {
  what: string;
  why: string | null;
  cures: { purpose: string; command: string }[];
}

export function needsOf(status: Status, now: Date): Need[] {
  const { planning, quarantine, runs, workers } = status;
  const holds = planning.holds.map(({ name, reason, since, ends_at: endsAt, cures }) => {
    const until = endsAt === null ? '' : ` until ${clock(endsAt)}`;
    return { what: `planning is on hold since ${clock(since)}${until} (${name})`, why: reason, cures };
  });
  const failed = badRuns(runs)
    .filter(({ run_id }) => !planning.holds.some((hold) => hold.run_id === run_id))
    // What it refused may be cured since, and what another run holds is not its own.
    .filter(({ left }) => left > 0 || quarantine.entries > 0)
    .map((run) => ({
      what: `run ${run.run_id} ${how(run)} ${age(run.finished_at, now)}`,
      why: run.outcome_reason,
      // What was refused is due no more: the quarantine has its cure.
      cures: run.left > 0 ? [{ purpose: 'what is left is due', command: 'identity-sync run' }] : [],
    }));
  const planners = workers.filter(({ plan_cron }) => plan_cron !== null);
  const [latest] = planners;
  const dead =
    latest === undefined || planners.some(({ is_alive }) => is_alive)
      ? []
      : [
          {
            what: 'no worker is alive, and the cron plans nothing',
            why: `${latest.name} has been silent since ${clock(latest.seen_at)}, ${age(latest.seen_at, now)}`,
            cures: [{ purpose: 'start one', command: 'identity-sync worker' }],
          },
        ];
  const reasons = quarantine.by_reason.map(({ outcome, field, sqlstate, entries }) => {
    const detail = field ?? sqlstate;
    return `${count(entries)} ${outcome}${detail === null ? '' : ` (${detail})`}`;
  });
  const refused = {
    what: `${count(quarantine.entries)} in quarantine`,
    why: (reasons.length > 5 ? [...reasons.slice(0, 5), '…'] : reasons).join(', '),
    cures: [{ purpose: 'look', command: 'identity-sync quarantine' }],
  };
  return [...holds, ...failed, ...dead, ...(quarantine.entries > 0 ? [refused] : [])];
}

/** What is said where nothing needs a person. */
export function calmOf({ open_runs, runs }: Status): string {
  const hasWritten = runs.some(({ dry_run }) => !dry_run);
  return open_runs.length === 0 && !hasWritten
    ? 'nothing has been written yet: identity-sync run'
    : 'all is well: nothing needs you';
}

// What is done by hand is a run too, and neither it nor a run over a few rows makes a failed run good.
const OVER_THE_CATALOGUE = ['due', 'refresh', 'recheck'];

/** The latest run over the catalogue, and a later one over rows that were named, where it went wrong. */
function badRuns(runs: EndedRun[]): EndedRun[] {
  const real = runs.filter(({ dry_run }) => !dry_run);
  const whole = real.find(({ scope }) => OVER_THE_CATALOGUE.includes(scope));
  const named = real.find(({ scope }) => scope === 'ids');
  const isLater = named !== undefined && named.run_id > (whole?.run_id ?? 0);
  return [...(isLater ? [named] : []), ...(whole ? [whole] : [])].filter(isBad);
}

const isBad = ({ outcome, stop_cause }: EndedRun) =>
  outcome === 'failed' || ['key', 'brake', 'breaker'].includes(stop_cause ?? '');

export const how = ({ outcome, stop_cause }: EndedRun): string =>
  outcome === 'completed' || stop_cause === null ? outcome : `${outcome} (${stop_cause})`;
