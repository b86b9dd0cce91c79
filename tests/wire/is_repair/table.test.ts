import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_repair('repair:')`, true],
  [`is_repair('repair:music-director')`, true],
  [`is_repair('repair:%_')`, true],
  [`is_repair('repair')`, false],
  [`is_repair('repaired')`, false],
  [`is_repair('Repair:music-director')`, false],
  [`is_repair(' repair:music-director')`, false],
  [`is_repair('a repair: by hand')`, false],
  [`is_repair('consumer:lml-bulk')`, false],
  [`is_repair('')`, false],
  [`is_repair(null)`, null],
])('an origin is a repair by its first word, to the letter: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
