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
const DAY_MS = DAY_MINUTES * 60_000;

// Five years with two leap days, so that a time that comes at all comes twice.
const FIRST_DAY = Date.UTC(2024, 0, 1);
const DAYS = 5 * 365 + 2;

/** Why graphile-worker refuses a crontab time, or that it never comes; or null. */
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

/** When a crontab time comes next. */
export function nextTick(time: string, now: Date): Date {
  const midnight = Math.floor(now.getTime() / DAY_MS) * DAY_MS;
  for (const minute of ticksOf(time, midnight)) {
    const tick = midnight + minute * 60_000;
    if (tick > now.getTime()) return new Date(tick);
  }
  throw new Error(`${time} never comes`);
}

/** The ticks of a crontab time over these years, in minutes. The times of day are the same on each day that has any. */
function* ticksOf(time: string, firstDay = FIRST_DAY): Generator<number> {
  const match = parseTime(time);
  let times: number[] = [];
  for (let day = 0; day < DAYS; day++) {
    const today = new Date(firstDay + day * DAY_MS);
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
