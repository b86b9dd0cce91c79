import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_elastic('deezer', false)`, true],
  [`is_elastic('YouTube Music', false)`, true],
  [`is_elastic('ラジオ', false)`, true],
  [`is_elastic('x', false)`, true],
  [`is_elastic(repeat('x', 64), false)`, true],
  [`is_elastic(repeat('🎷', 64), false)`, true],
  [`is_elastic(repeat('x', 65), false)`, false],
  [`is_elastic('', false)`, false],
  [`is_elastic(' ', false)`, false],
  [`is_elastic(E'\\u00a0', false)`, false],
  [`is_elastic(E'dee\\nzer', false)`, false],
  [`is_elastic(E'deezer\\u001b[2J', false)`, false],
  [`is_elastic(E'dee\\u200bzer', false)`, false],
  [`is_elastic(E'\\u202ereezed', false)`, false],
  [`is_elastic('deezer', true)`, false],
  [`is_elastic(null, false)`, false],
  [`is_elastic(null, true)`, false],
])('an unknown word passes where a person can read it: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
