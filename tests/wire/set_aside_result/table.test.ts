import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `set_aside_result('{"library_id": 7, "main": {"wikidata_qid": "Q#n0000"}}', '#', true)`,
    {
      library_id: 7,
      unreadable: '{"library_id": 7, "main": {"wikidata_qid": "Q\\u0000"}}',
      path: 'main.wikidata_qid',
      fault: 'the escape \\u0000',
    },
  ],
  [
    `set_aside_result('{"provenance": [{}, {"source": "#nd83c"}]}', '#', true) ->> 'path'`,
    'provenance[1].source',
  ],
  [
    `set_aside_result('{"library_id": "x", "n": 1e999999}', '#', true)`,
    {
      library_id: null,
      unreadable: '{"library_id": "x", "n": 1e999999}',
      path: null,
      fault: 'jsonb refuses it',
    },
  ],
  [`set_aside_result('{"a": [{"b#nd83c": 1}]}', '#', true) ->> 'path'`, String.raw`a[0].b\ud83c`],
  [`set_aside_result('{"a": {"b#nd83c": {"c": 1}}}', '#', true) ->> 'path'`, String.raw`a.b\ud83c`],
  [`set_aside_result('{"#nd83c": 1, "#nd83d": 2}', '#', true) ->> 'path'`, String.raw`\ud83c`],
  [`set_aside_result('{"a": "#n0000"}', '#', false) ->> 'path'`, null],
  [
    `length(set_aside_result('{"a": ' || repeat('[', 400) || '"' || repeat('x', 1000000) || '#n0000"' || repeat(']', 400) || '}', '#', true) ->> 'path')`,
    1 + 3 * 18 + 1,
  ],
])('a result set aside keeps its id, its text and the path at fault: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
