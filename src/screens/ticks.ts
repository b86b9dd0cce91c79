// When the crontab times of the workers come next.
import type { Status, Ticks } from './status.js';

/** What reads crontab times is loaded where there is one. A time of another version's worker may be none to this program. */
export async function nextTicks({ at, planning }: Pick<Status, 'at' | 'planning'>): Promise<Ticks> {
  if (planning.crons.length === 0) return new Map();
  const { faultOfCrontabTime, nextTick } = await import('../worker/crontab.js');
  const next = (cron: string) => (faultOfCrontabTime(cron) === null ? nextTick(cron, new Date(at)) : null);
  return new Map(planning.crons.map((cron) => [cron, next(cron)]));
}
