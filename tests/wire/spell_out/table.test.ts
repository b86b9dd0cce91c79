import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `spell_out('{"b": [1, "x\\"", null, true, -1.5e131071, 1e-16000], "a\\"": {}, "c": []}')`,
    String.raw`{"b": [1, "x\"", null, true, -1.50000000000000e+131071, 1.00000000000000e-16000], "c": [], "a\"": {}}`,
  ],
  [`spell_out('[1e131071]')::jsonb = '[1e131071]'`, true],
  [`spell_out('7')`, '7'],
])(
  'a number of very many digits is written with an exponent, and can be read again: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
