// The crontab: what happens by itself. All times are UTC; a tick that was missed while no worker was up is not made up for.
//
// ┌ minute (0 - 59)
// │ ┌ hour (0 - 23)
// │ │ ┌ day of the month (1 - 31)
// │ │ │ ┌ month (1 - 12)
// │ │ │ │ ┌ day of the week (0 - 6, from Sunday)
// 17 3 * * *   plan_identity_run    a run over what is due; PLAN_CRON moves it; at night, when nobody edits the catalogue
// * * * * *    rescue_identity_runs   frees what the dead hold, enlists missing lanes, closes what is over
// 41 4 * * *   prune_identity_sync   clears what is older than KEEP_DAYS away; an hour and more after the run began
import { type CronItem, parseCronItems } from 'graphile-worker';

export const crontab = (planCron: string): CronItem[] => [
  { task: 'plan_identity_run', match: planCron, identifier: 'plan_identity_run' },
  { task: 'rescue_identity_runs', match: '* * * * *', identifier: 'rescue_identity_runs' },
  { task: 'prune_identity_sync', match: '41 4 * * *', identifier: 'prune_identity_sync' },
];

const DAY_MINUTES = 24 * 60;

// A year and the next, so that a time that comes once a year comes twice; no 29th of February is among them.
const FIRST_DAY = Date.UTC(2025, 0, 1);
const DAYS = 2 * 365;

/**
 * The longest time between two ticks of a crontab time, in minutes: until then it says nothing that no run has succeeded.
 * A time that comes once in two years or never has one of two years.
 */
export function longestPauseMinutes(time: string): number {
  const [{ match }] = parseCronItems([{ task: 'tick', match: time, identifier: 'tick' }]) as [
    ReturnType<typeof parseCronItems>[number],
  ];
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
