import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_method('manual')`, true],
  [`is_method('cross_source_agreement')`, true],
  [`is_method('exact_match')`, true],
  [`is_method('name_variation')`, true],
  [`is_method('member_group')`, true],
  [`is_method('alias_match')`, true],
  [`is_method('trigram')`, true],
  [`is_method('llm')`, true],
  [`is_method('Exact_Match')`, false],
  [`is_method('inherited')`, false],
  [`is_method('')`, false],
  [`is_method(null)`, null],
])('a method is known where methods() lists it: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
