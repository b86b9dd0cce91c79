import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[string, string | null]>([
  ["'2026-11-27 23:59:59+00'", '2026-11-27 23:59 UTC'],
  ["'2026-11-28 00:59:00+02'", '2026-11-27 22:59 UTC'],
  ['null', null],
])('%s is said as %s', async (time, words) => {
  expect(await evaluate(`utc(${time}::timestamptz)`)).toBe(words);
});
