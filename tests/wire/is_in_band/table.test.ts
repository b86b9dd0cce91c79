import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_in_band('manual', 0.99999)`, true],
  [`is_in_band('manual', 0.99999 - 0.000000001)`, false],
  [`is_in_band('manual', 1)`, true],
  [`is_in_band('exact_match', 0.99999)`, true],
  [`is_in_band('exact_match', 0.99999 - 0.000000001)`, false],
  [`is_in_band('exact_match', 1)`, true],
  [`is_in_band('name_variation', 0.89999)`, true],
  [`is_in_band('name_variation', 0.89999 - 0.000000001)`, false],
  [`is_in_band('name_variation', 0.99001)`, true],
  [`is_in_band('name_variation', 0.99001 + 0.000000001)`, false],
  [`is_in_band('member_group', 0.79999)`, true],
  [`is_in_band('member_group', 0.79999 - 0.000000001)`, false],
  [`is_in_band('member_group', 0.89001)`, true],
  [`is_in_band('member_group', 0.89001 + 0.000000001)`, false],
  [`is_in_band('alias_match', 0.74999)`, true],
  [`is_in_band('alias_match', 0.74999 - 0.000000001)`, false],
  [`is_in_band('alias_match', 0.84001)`, true],
  [`is_in_band('alias_match', 0.84001 + 0.000000001)`, false],
  [`is_in_band('trigram', 0.69999)`, true],
  [`is_in_band('trigram', 0.69999 - 0.000000001)`, false],
  [`is_in_band('trigram', 1)`, true],
  [`is_in_band('llm', 0.59999)`, true],
  [`is_in_band('llm', 0.59999 - 0.000000001)`, false],
  [`is_in_band('llm', 0.79001)`, true],
  [`is_in_band('llm', 0.79001 + 0.000000001)`, false],
  [`is_in_band('cross_source_agreement', 0)`, true],
  [`is_in_band('cross_source_agreement', 1)`, true],
  [`is_in_band('guess', 1)`, null],
  [`is_in_band(null, 1)`, null],
  [`is_in_band('llm', null)`, null],
])('a band and its tolerance of 0.00001: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
