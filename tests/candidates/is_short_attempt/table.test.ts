import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_short_attempt('manual_precedence')`, true],
  [`is_short_attempt('compilation_unread')`, true],
  [`is_short_attempt('compilation')`, false],
  [`is_short_attempt('unresolved')`, false],
  [`is_short_attempt('held')`, false],
  [`is_short_attempt(null)`, null],
])(
  'an attempt that says nothing about the name runs out as an identity does: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
