import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`read_identity_answer('{"results": [{"library_id": 7}]}')`, { results: [{ library_id: 7 }] }],
  [`read_identity_answer('{"results": [], "set_aside": {"1": 7}}')`, { results: [] }],
  [`read_identity_answer('{"message": "no"}')`, null],
  [`read_identity_answer('<html>')`, null],
  [`read_identity_answer(null)`, null],
  [
    `read_identity_answer('[{"library_id": 7}, {"library_id": 8, "note": "\\u0000"}]') -> 'results'`,
    [{ library_id: 7 }, { library_id: 8 }],
  ],
])('an answer as it came off the wire: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
