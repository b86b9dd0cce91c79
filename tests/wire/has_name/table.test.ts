import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`has_name('')`, false],
  [`has_name(null)`, false],
  [`has_name(' ')`, false],
  [`has_name(E'\\t\\n\\r')`, false],
  [`has_name(E'\\u00a0')`, false],
  [`has_name(E'\\u2003\\u3000')`, false],
  [`has_name(E'\\u0085')`, false],
  [`has_name('a')`, true],
  [`has_name('é')`, true],
  [`has_name(' a')`, true],
  [`has_name(E'\\u00a0x')`, true],
  [`has_name('~')`, true],
  [`has_name('!')`, true],
])('a name is one where it is not blank: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
