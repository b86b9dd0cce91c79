import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`fingerprint(7, 'Autechre', 'Confield') = fingerprint(7, 'Autechre', 'Confield')`, true],
  [`fingerprint(7, 'Autechre', 'Confield') = fingerprint(7, 'autechre', 'Confield')`, false],
  [`fingerprint(7, 'Autechre', 'Confield') = fingerprint(7, 'Autechre', 'Confield ')`, false],
  [`fingerprint(7, 'Autechre', 'Confield') = fingerprint(7, 'Confield', 'Autechre')`, false],
  [`fingerprint(7, 'a', 'bc') = fingerprint(7, 'ab', 'c')`, false],
  [`fingerprint(7, E'\\u00e9', '') = fingerprint(7, E'e\\u0301', '')`, false],
  [`fingerprint(7, 'Autechre', 'Confield') = fingerprint(8, 'Autechre', 'Confield')`, false],
  [`fingerprint(7, '', '') is null`, false],
  [`fingerprint(7, null, 'Confield')`, null],
])('another name or title is another fingerprint: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
