import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`service_origin()`, 'consumer:lml-bulk'],
  [`is_ours(service_origin())`, true],
  [`is_repair(service_origin())`, false],
])(
  'the origin of the service is what readers of the tables look for: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
