import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`jsonb_or_null('{"a": 1}')`, { a: 1 }],
  [`jsonb_or_null('{')`, null],
  [`jsonb_or_null('')`, null],
  [`jsonb_or_null('"\\u0000"')`, null],
  [`jsonb_or_null('"\\ud83c"')`, null],
  [`jsonb_or_null('1e999999')`, null],
  [`jsonb_or_null(null)`, null],
])('a text that jsonb refuses is NULL, and no error: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
