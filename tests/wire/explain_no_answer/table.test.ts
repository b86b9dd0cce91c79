import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`explain_no_answer(null)`, 'the text is empty'],
  [`explain_no_answer('{}')`, 'the text is JSON, but no answer of LML: {}'],
  [
    `explain_no_answer(e'{\\n "a": 01}')`,
    'the text is no JSON: line 2, column 8: "a": 01 (Token "01" is invalid.)',
  ],
  [
    `explain_no_answer(e'{\\n')`,
    'the text is no JSON: line 2, column 1: the end of the text (The input string ended unexpectedly.)',
  ],
  [`explain_no_answer(repeat('[', 100000)) like 'the text is no JSON: line ?, column 1: %'`, true],
  [
    `explain_no_answer('"' || repeat('x', 300) || '"')`,
    `the text is JSON, but no answer of LML: "${'x'.repeat(99)}`,
  ],
  [`substring(explain_no_answer(repeat('x', 300)) from '[(].*')`, `(Token "${'x'.repeat(193)})`],
])('why a text is no answer of LML: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
