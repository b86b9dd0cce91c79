import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`read_confidence('0')`, 0],
  [`read_confidence('1')`, 1],
  [`read_confidence('0.8999999762')`, 0.8999999762],
  [`read_confidence('0.1234567890123')`, 0.1234567890123],
  [`read_confidence('0.000001')`, 0.000001],
  [`read_confidence('0.0000001234567')`, 0.000000123457],
  [`read_confidence('0.0000009999999999')`, 0.000001],
  [`read_confidence('1e-400')`, 0],
  [`read_confidence('1e-400')::real`, 0],
  [`read_confidence('-0.01')`, null],
  [`read_confidence('1.01')`, null],
  [`read_confidence('1e400')`, null],
  [`read_confidence('"0.9"')`, null],
  [`read_confidence('true')`, null],
  [`read_confidence('false')`, null],
  [`read_confidence('null')`, null],
  [`read_confidence('[]')`, null],
  [`read_confidence('[0.5]')`, null],
  [`read_confidence('{}')`, null],
  [`read_confidence(null)`, null],
])(
  'a confidence is a number from 0 to 1, and what is next to nothing is rounded: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
