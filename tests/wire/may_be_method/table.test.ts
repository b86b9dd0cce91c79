import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`may_be_method('llm', false)`, true],
  [`may_be_method('llm', true)`, true],
  [`may_be_method('by ear', false)`, true],
  [`may_be_method('by ear', true)`, false],
  [`may_be_method('', false)`, false],
  [`may_be_method(null, false)`, null],
])(
  'a method may be named where it is known, or new and bands are not strict: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
