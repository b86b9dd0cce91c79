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
  [`read_identity_answer(E'\\ufeff[{"library_id": 7}]')`, [{ library_id: 7 }]],
  [`read_identity_answer('[{"library_id": 8, "note": "\\u0000"}]') ? 'set_aside'`, true],
])('an answer as it came off the wire: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});

const padded = (bytes: number) => `rpad('[', ${bytes - 1}) || ']'`;
const values = (count: number) => `'{"results": [], "a": "{[' || repeat(',', ${count - 5}) || '"}'`;
const results = (count: number) => `'[7' || repeat(',7', ${count - 1}) || ']'`;
const unreadable = (bytes: number) => `rpad('[{"library_id": 8, "a": "\\u0000"}', ${bytes - 1}) || ']'`;

test.each<[expression: string, value: unknown]>([
  [`read_identity_answer(${padded(24_000_000)}, 5)`, []],
  [`read_identity_answer(${padded(24_000_001)}, 5)`, null],
  [`read_identity_answer(${padded(24_000_001)})`, []],
  [`read_identity_answer(${values(2_000_000)}, 5) is null`, false],
  [`read_identity_answer(${values(2_000_001)}, 5) is null`, true],
  [`read_identity_answer(${values(4_000_000)}) is null`, false],
  [`read_identity_answer(${values(4_000_001)}) is null`, true],
  [`jsonb_array_length(read_identity_answer(${results(150_005)}, 5))`, 150_005],
  [`read_identity_answer(${results(150_006)}, 5)`, null],
  [`read_identity_answer('{"results": ' || ${results(150_006)} || '}', 5)`, null],
  [`jsonb_array_length(read_identity_answer(${results(150_006)}))`, 150_006],
  [`read_identity_answer(${unreadable(16_000_000)}) is null`, false],
  [`read_identity_answer(${unreadable(16_000_001)}) is null`, true],
])(
  'an answer that is too rich is none, but a file of an operator may be large: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
