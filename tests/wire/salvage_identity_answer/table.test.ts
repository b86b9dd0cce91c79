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
  [`salvage_identity_answer('{"library_id": 7, "a": "\\u0000"}') -> 'results'`, [{ library_id: 7 }]],
  [`salvage_identity_answer('{"kind": 7, "a": "\\u0000"}') -> 'results'`, [{ library_id: null }]],
  [`salvage_identity_answer('{"results": [], "a": "\\u0000"}') -> 'results'`, []],
  // A text that holds each character that could be the mark.
  [
    `salvage_identity_answer('[{"library_id": 7, "a": "' || (
      select string_agg(chr(code), '') from generate_series(64976, 65007) as code
    ) || '\\u0000"}, {"library_id": 8}]') -> 'results'`,
    [{ library_id: 7 }, { library_id: 8 }],
  ],
  [
    `salvage_identity_answer('[{"library_id": 7, "a": "' || chr(64976) || '"}, {"library_id": 8, "a": "\\u0000"}]')
      #>> '{results,0,a}' = chr(64976)`,
    true,
  ],
  // A large text of few surrogates, and one of very many.
  [`salvage_identity_answer('["\\u0000"' || repeat(' ', 2000000) || ']') is null`, false],
  [`salvage_identity_answer('["' || repeat('\\ud83c', 500001) || '"]')`, null],
  // The first thousand are told where their fault is.
  [
    `(
      select array[salvaged #>> '{set_aside,1000,path}', salvaged #>> '{set_aside,1001,path}']
      from salvage_identity_answer('[' || repeat('{"a": "\\u0000"}, ', 1000) || '{"a": "\\u0000"}]') as salvaged
    )`,
    ['a', null],
  ],
  [`salvage_identity_answer('{"message": "\\u0000"}')`, null],
  [`salvage_identity_answer('<html>')`, null],
  [`salvage_identity_answer(null)`, null],
])('what jsonb refuses costs its own result alone: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
