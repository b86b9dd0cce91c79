import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[call: string, message: string, hint: string]>([
  [`check_range('lanes', 0, 1, 32, 'calls')`, `lanes is 0`, `Allowed: 1 to 32 calls.`],
  [`check_range('lanes', 33, 1, 32, 'calls')`, `lanes is 33`, `Allowed: 1 to 32 calls.`],
  [`check_range('lanes', null, 1, 32, 'calls')`, `lanes is NULL`, `Allowed: 1 to 32 calls.`],
  [`check_range('keep_days', 0, 1, null, 'day and more')`, `keep_days is 0`, `Allowed: 1 day and more.`],
  [
    `check_range('keep_days', null, 1, null, 'day and more')`,
    `keep_days is NULL`,
    `Allowed: 1 day and more.`,
  ],
])('an integer out of its range is refused with its bounds: %s', async (call, message, hint) => {
  await expect(evaluate(call)).rejects.toMatchObject({ code: 'LS001', message, hint });
});

test.each<[call: string]>([
  [`check_range('lanes', 1, 1, 32, 'calls')`],
  [`check_range('lanes', 32, 1, 32, 'calls')`],
  [`check_range('keep_days', 2147483647, 1, null, 'day and more')`],
])('what is allowed passes: %s', async (call) => {
  expect(await evaluate(`${call} is null`)).toBe(false);
});
