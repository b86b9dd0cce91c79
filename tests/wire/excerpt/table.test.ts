import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`excerpt('as it is: é 🎛', 20)`, 'as it is: é 🎛'],
  [`excerpt(e' two\\r\\n\\t lines ', 20)`, 'two lines'],
  [`excerpt(e'\\x1b[31mred\\x1b[0m\\u0085\\u202eback', 20)`, '[31mred [0m back'],
  [`excerpt(repeat('x', 1000), 5)`, 'xxxxx'],
  [`excerpt(repeat(' ', 15) || 'long', 5)`, 'long'],
  [`excerpt(repeat(' ', 20) || 'too late', 5)`, null],
  [`excerpt('', 5)`, null],
  [`excerpt(e'\\r\\n', 5)`, null],
  [`excerpt(null, 5)`, null],
])('the beginning of a text on one line: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
