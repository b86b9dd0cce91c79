import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`text_of('"Q42"')`, 'Q42'],
  [`text_of('""')`, ''],
  [`text_of('null')`, null],
  [`text_of(null)`, null],
  [`text_of('7')`, ''],
  [`text_of('true')`, ''],
  [`text_of('[1e131071]')`, ''],
  [`text_of('{"a": 1e131071}')`, ''],
])('only a string becomes text: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
