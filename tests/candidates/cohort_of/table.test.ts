import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`cohort_of('Z1', false)`, 'va'],
  [`cohort_of('Z', false)`, 'va'],
  [`cohort_of('z', false)`, 'non_va'],
  [`cohort_of('A', true)`, 'va'],
  [`cohort_of('A', false)`, 'non_va'],
  [`cohort_of(null, true)`, 'va'],
  [`cohort_of(null, false)`, 'non_va'],
])('a compilation-shaped row is of the cohort va: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
