// The crontab: what happens by itself. All times are UTC. A tick that no worker was up for is not made up for.
//
// ┌ minute (0 - 59)
// │ ┌ hour (0 - 23)
// │ │ ┌ day of the month (1 - 31)
// │ │ │ ┌ month (1 - 12)
// │ │ │ │ ┌ day of the week (0 - 6, from Sunday)
// 17 3 * * *   plan_identity_run      a run over what is due, at night, when the catalogue is not edited; PLAN_CRON moves it
// * * * * *    rescue_identity_runs   frees what dead processes hold, enqueues missing lanes, closes runs that are over
// 41 4 * * *   prune_identity_sync    deletes what is older than KEEP_DAYS, more than an hour after the run began
import { type CronItem, type ParsedCronItem, parseCronItem, parseCronItems } from 'graphile-worker';

export const crontab = (planCron: string): ParsedCronItem[] =>
  parseCronItems([
    { task: 'plan_identity_run', match: planCron, identifier: 'plan_identity_run' },
    { task: 'rescue_identity_runs', match: '* * * * *', identifier: 'rescue_identity_runs' },
    { task: 'prune_identity_sync', match: '41 4 * * *', identifier: 'prune_identity_sync' },
  ]);

const DAY_MINUTES = 24 * 60;

// Five years with two leap days, so that whatever comes at all comes twice.
const FIRST_DAY = Date.UTC(2024, 0, 1);
const DAYS = 5 * 365 + 2;

/** What is wrong with a crontab time, be it to graphile-worker or because it never comes; or null. */
export function faultOfCrontabTime(time: string): string | null {
  try {
    return ticksOf(time).next().done ? 'it never comes' : null;
  } catch (error) {
    return (error as Error).message.replace(` in ${SOURCE}`, '').replace(/\.$/, '');
  }
}

/** The longest time between two ticks of a crontab time, in minutes: no sooner can it be said that no run succeeded. */
export function longestPauseMinutes(time: string): number {
  let last: number | null = null;
  let longest = 0;
  for (const tick of ticksOf(time)) {
    if (last !== null) longest = Math.max(longest, tick - last);
    last = tick;
  }
  return longest;
}

/** When a crontab time comes next after `now`; null where it never comes. */
export function nextTick(time: string, now: Date): Date | null {
  const match = parseTime(time);
  const first = Math.floor(now.getTime() / 60_000) + 1;
  for (let minute = first; minute < first + DAYS * DAY_MINUTES; minute++) {
    const at = new Date(minute * 60_000);
    const [date, month, dow] = [at.getUTCDate(), at.getUTCMonth() + 1, at.getUTCDay()];
    if (match({ min: at.getUTCMinutes(), hour: at.getUTCHours(), date, month, dow })) return at;
  }
  return null;
}

/** The ticks of a crontab time over these years, in minutes. The times of day are the same on each day that has any. */
function* ticksOf(time: string): Generator<number> {
  const match = parseTime(time);
  let times: number[] = [];
  for (let day = 0; day < DAYS; day++) {
    const today = new Date(FIRST_DAY + day * DAY_MINUTES * 60_000);
    const [date, month, dow] = [today.getUTCDate(), today.getUTCMonth() + 1, today.getUTCDay()];
    const comesAt = (minute: number) =>
      match({ min: minute % 60, hour: Math.floor(minute / 60), date, month, dow });
    if (times.length === 0)
      times = Array.from({ length: DAY_MINUTES }, (_, minute) => minute).filter(comesAt);
    if (times.length === 0 || !comesAt(times[0]!)) continue;
    for (const minute of times) yield day * DAY_MINUTES + minute;
  }
}

// Where graphile-worker's messages say that a time stands.
const SOURCE = 'PLAN_CRON';

const parseTime = (time: string): ParsedCronItem['match'] =>
  parseCronItem({ task: 'tick', match: time } satisfies CronItem, SOURCE).match;
