import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `set_aside_result('{"library_id": 7, "main": {"wikidata_qid": "Q#n0000"}}', '#')`,
    {
      library_id: 7,
      unreadable: '{"library_id": 7, "main": {"wikidata_qid": "Q\\u0000"}}',
      path: 'main.wikidata_qid',
      fault: 'the escape \\u0000',
    },
  ],
  [`set_aside_result('{"provenance": [{}, {"source": "#nd83c"}]}', '#') ->> 'path'`, 'provenance[1].source'],
  [
    `set_aside_result('{"library_id": "x", "n": 1e999999}', '#')`,
    {
      library_id: null,
      unreadable: '{"library_id": "x", "n": 1e999999}',
      path: null,
      fault: 'jsonb refuses it',
    },
  ],
])('a result set aside keeps its id, its text and the path at fault: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
