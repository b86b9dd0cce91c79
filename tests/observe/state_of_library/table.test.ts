// One state a library: the first that holds, in this order.
import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[string, string]>([
  // has a name, may be on Discogs, is due, is held, is wanted, is fresh
  ['false, true, true, true, true, true', 'no_name'],
  ['true, false, true, true, true, true', 'not_on_discogs'],
  ['true, true, true, true, true, true', 'due'],
  ['true, true, false, true, true, true', 'held'],
  ['true, true, false, false, true, true', 'fresh'],
  ['true, true, false, false, true, false', 'waiting'],
  ['true, true, false, false, false, false', 'not_canonical'],
])('(%s) is %s', async (known, state) => {
  expect(await evaluate(`state_of_library(${known})`)).toBe(state);
});
