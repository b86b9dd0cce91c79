import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`printable('{"a": [1, -2.5, 0, 1e99, 1e-99, "1e131071", null, true]}') -> 'a' -> 0`, 1],
  [`printable('7')`, 7],
  [`printable(null)`, null],
  [`printable('1e131071')`, null],
  [`printable('{"a": [{"b": -1e131071}]}')`, null],
  [`printable('[1e-16000]')`, null],
  [`printable('[-1e-16000]')`, null],
])('a document with a number of very many digits is not kept: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
