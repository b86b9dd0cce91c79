import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `salvage_identity_answer('[{"library_id": 7, "a": "\\ud83c"}, {"library_id": 8}]')`,
    {
      results: [{ library_id: 7 }, { library_id: 8 }],
      set_aside: {
        1: {
          library_id: 7,
          unreadable: '{"library_id": 7, "a": "\\ud83c"}',
          path: 'a',
          fault: 'the escape \\ud83c',
        },
      },
      tracks_contract_version: null,
    },
  ],
  [
    `salvage_identity_answer('{"results": [{"library_id": 7, "a": "\\\\u0000 \\ud83c\\udfb7"}], "tracks_contract_version": 1}')`,
    {
      results: [{ library_id: 7, a: '\\u0000 🎷' }],
      set_aside: {},
      tracks_contract_version: 1,
    },
  ],
  [`salvage_identity_answer('{"message": "\\u0000"}')`, null],
  [`salvage_identity_answer('<html>')`, null],
  [`salvage_identity_answer(null)`, null],
])('what jsonb refuses costs its own result alone: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
