import { describe, expect, test } from 'vitest';
import { crontab, longestPauseMinutes, nextTick } from '../../src/worker/crontab.js';

const DAY = 24 * 60;

describe('the longest pause of a crontab time', () => {
  test.each([
    ['every minute', '* * * * *', 1],
    ['every six hours', '0 */6 * * *', 6 * 60],
    ['at two times of a day', '0 6,10 * * *', 20 * 60],
    ['daily', '17 3 * * *', DAY],
    ['on working days', '17 3 * * 1-5', 3 * DAY],
    ['weekly', '17 3 * * 1', 7 * DAY],
    ['monthly', '17 3 1 * *', 31 * DAY],
    ['yearly', '17 3 1 1 *', 366 * DAY],
    ['on leap days', '17 3 29 2 *', (4 * 365 + 1) * DAY],
  ])('%s', (_, time, minutes) => {
    expect(longestPauseMinutes(time)).toBe(minutes);
  });
});

test.each([
  ['17 3 * * *', '2026-11-27T03:16:59Z', '2026-11-27T03:17:00Z'],
  ['17 3 * * *', '2026-11-27T03:17:00Z', '2026-11-28T03:17:00Z'],
  ['0 0 29 2 *', '2026-11-27T00:00:00Z', '2028-02-29T00:00:00Z'],
])('%s comes after %s at %s', (time, now, next) => {
  expect(nextTick(time, new Date(now))).toEqual(new Date(next));
});

// What is due is the backlog: ticks that no worker was up for would plan the same rows again and again.
test('no tick is made up for, and each task keeps its name when its time moves', () => {
  const items = crontab('5 5 * * *').map(({ identifier, task, options }) => ({
    identifier,
    task,
    ...options,
  }));
  expect(items).toMatchObject(
    ['plan_identity_run', 'rescue_identity_runs', 'prune_identity_sync'].map((task) => ({
      identifier: task,
      task,
      backfillPeriod: 0,
    })),
  );
});
