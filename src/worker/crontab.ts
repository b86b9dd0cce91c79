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

// A year and the next, so that a yearly time comes twice. Neither year has a 29th of February.
const FIRST_DAY = Date.UTC(2025, 0, 1);
const DAYS = 2 * 365;

/** What graphile-worker finds wrong with a crontab time, or null. */
export function faultOfCrontabTime(time: string): string | null {
  try {
    parseTime(time);
    return null;
  } catch (error) {
    return (error as Error).message.replace(` in ${SOURCE}`, '').replace(/\.$/, '');
  }
}

/**
 * The longest time between two ticks of a crontab time, in minutes: no sooner can it be said that no run succeeded. It is
 * two years for a time that comes once in two years or never.
 */
export function longestPauseMinutes(time: string): number {
  const match = parseTime(time);
  let last: number | null = null;
  let longest = 0;
  for (let day = 0; day < DAYS; day++) {
    const today = new Date(FIRST_DAY + day * DAY_MINUTES * 60_000);
    const [date, month, dow] = [today.getUTCDate(), today.getUTCMonth() + 1, today.getUTCDay()];
    for (let minute = 0; minute < DAY_MINUTES; minute++) {
      if (!match({ min: minute % 60, hour: Math.floor(minute / 60), date, month, dow })) continue;
      const tick = day * DAY_MINUTES + minute;
      if (last !== null) longest = Math.max(longest, tick - last);
      last = tick;
    }
  }
  return longest === 0 ? DAYS * DAY_MINUTES : longest;
}

// Where graphile-worker's messages say that a time stands.
const SOURCE = 'PLAN_CRON';

const parseTime = (time: string): ParsedCronItem['match'] =>
  parseCronItem({ task: 'tick', match: time } satisfies CronItem, SOURCE).match;
