import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_blank('')`, true],
  [`is_blank(null)`, true],
  [`is_blank(' ')`, true],
  [`is_blank(E'\\t\\n\\r')`, true],
  [`is_blank(E'\\u00a0')`, true],
  [`is_blank(E'\\u2003\\u3000')`, true],
  [`is_blank(E'\\u0085')`, true],
  [`is_blank('a')`, false],
  [`is_blank('é')`, false],
  [`is_blank(' a')`, false],
  [`is_blank(E'\\u00a0x')`, false],
  [`is_blank('~')`, false],
  [`is_blank('!')`, false],
])('a blank name holds white space only: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
