import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`describe_band('manual')`, '1.00 to 1.00'],
  [`describe_band('cross_source_agreement')`, '0.00 to 1.00'],
  [`describe_band('exact_match')`, '1.00 to 1.00'],
  [`describe_band('name_variation')`, '0.90 to 0.99'],
  [`describe_band('member_group')`, '0.80 to 0.89'],
  [`describe_band('alias_match')`, '0.75 to 0.84'],
  [`describe_band('trigram')`, '0.70 to 1.00'],
  [`describe_band('llm')`, '0.60 to 0.79'],
  [`describe_band('guess')`, null],
  [`describe_band(null)`, null],
])('the words of a band are read off the rule: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
