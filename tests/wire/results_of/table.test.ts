import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`results_of('[1, 2]')`, [1, 2]],
  [`results_of('{"results": [1, 2]}')`, [1, 2]],
  [`results_of('{"library_id": 7}')`, [{ library_id: 7 }]],
  [`results_of('{"results": 7}')`, null],
  [`results_of('{"message": "no"}')`, null],
  [`results_of(null)`, null],
])('the results of an answer in each of its three shapes: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
