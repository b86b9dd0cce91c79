import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_plausible_time(now())`, true],
  [`is_plausible_time(statement_timestamp() + interval '1 minute')`, true],
  [`is_plausible_time(statement_timestamp() + interval '1 minute 1 microsecond')`, false],
  [`is_plausible_time('infinity')`, false],
  [`is_plausible_time('-infinity')`, true],
  [`is_plausible_time(null)`, null],
])('a time is plausible up to a minute ahead of the clock: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
