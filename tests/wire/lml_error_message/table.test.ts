import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`lml_error_message('{"message": "no key", "detail": "old"}')`, 'no key'],
  [`lml_error_message('{"detail": "old"}')`, 'old'],
  [`lml_error_message('[1]')`, '[1]'],
  [`lml_error_message(' <html>Bad Gateway</html> ')`, '<html>Bad Gateway</html>'],
  [`lml_error_message('{"code": 7}')`, '{"code": 7}'],
  [`lml_error_message('  ')`, 'no words'],
  [`lml_error_message(null)`, 'no words'],
  [`length(lml_error_message(repeat('x', 1000)))`, 300],
])('the message of an error body: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
