import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`fingerprint('Autechre', 'Confield') = fingerprint('Autechre', 'Confield')`, true],
  [`fingerprint('Autechre', 'Confield') = fingerprint('autechre', 'Confield')`, false],
  [`fingerprint('Autechre', 'Confield') = fingerprint('Autechre', 'Confield ')`, false],
  [`fingerprint('Autechre', 'Confield') = fingerprint('Confield', 'Autechre')`, false],
  [`fingerprint('a', 'bc') = fingerprint('ab', 'c')`, false],
  [`fingerprint(E'\\u00e9', '') = fingerprint(E'e\\u0301', '')`, false],
  [`fingerprint('', '') is null`, false],
  [`fingerprint(null, 'Confield')`, null],
])('another name or title is another fingerprint: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
