import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`array(select method from unnest(methods()) as method where is_in_band(method, 1) is null)`, []],
  [`cardinality(methods())`, 8],
  [`cardinality(array(select distinct unnest(methods())))`, 8],
])('the list and the bands know the same methods: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
