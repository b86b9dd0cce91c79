import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`has_text('A1')`, true],
  [`has_text('é')`, true],
  [`has_text(' x')`, true],
  [`has_text('')`, false],
  [`has_text(E' \\t\\n\\v\\f\\r')`, false],
  [`has_text(E'\\u00a0')`, true],
  [`has_text(null)`, null],
])('a text of a track holds more than ASCII white space: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
