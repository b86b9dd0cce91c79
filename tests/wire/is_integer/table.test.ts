import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_integer('7', 1)`, true],
  [`is_integer('7.0', 1)`, true],
  [`is_integer('7e0', 1)`, true],
  [`is_integer('1', 1)`, true],
  [`is_integer('0', 1)`, false],
  [`is_integer('-1', 1)`, false],
  [`is_integer('-2147483648', -2147483648)`, true],
  [`is_integer('-2147483649', -2147483648)`, false],
  [`is_integer('2147483647', 1)`, true],
  [`is_integer('2147483648', 1)`, false],
  [`is_integer('7.5', 1)`, false],
  [`is_integer('1e400', 1)`, false],
  [`is_integer('"7"', 1)`, false],
  [`is_integer('true', 1)`, false],
  [`is_integer('null', 1)`, false],
  [`is_integer('[]', 1)`, false],
  [`is_integer('[7]', 1)`, false],
  [`is_integer('{}', 1)`, false],
  [`is_integer(null, 1)`, false],
])('an integer from the least allowed to 2147483647: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
