import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`repair_origin('music-director')`, 'repair:music-director'],
  [`repair_origin('Ani "the DJ" %s')`, 'repair:Ani "the DJ" %s'],
  [`repair_origin('')`, 'repair:'],
  [`repair_origin(null)`, null],
  [`is_repair(repair_origin('repair:'))`, true],
])('the origin of a repair names who repairs, as they are called: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
