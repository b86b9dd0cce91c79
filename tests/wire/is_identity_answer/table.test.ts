import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_identity_answer('[]')`, true],
  [`is_identity_answer('[7]')`, true],
  [`is_identity_answer('{"results": []}')`, true],
  [`is_identity_answer('{"results": {}}')`, false],
  [`is_identity_answer('{"results": null}')`, false],
  [`is_identity_answer('{"library_id": 7}')`, true],
  [`is_identity_answer('{"kind": "unresolved"}')`, true],
  [`is_identity_answer('{"message": "no"}')`, false],
  [`is_identity_answer('7')`, false],
  [`is_identity_answer('null')`, false],
  [`is_identity_answer(null)`, false],
])(
  'an answer is an array of results, an object with one, or one result: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
