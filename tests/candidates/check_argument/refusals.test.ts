import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[call: string, message: string, hint: string]>([
  [`check_argument('colour', 'red', false, 'blue')`, `colour is red`, `Allowed: blue.`],
  [`check_argument('colour', null, null, 'blue, green')`, `colour is NULL`, `Allowed: blue, green.`],
])(
  'an argument that is not allowed is refused by name, value and what is allowed: %s',
  async (call, message, hint) => {
    await expect(evaluate(call)).rejects.toMatchObject({ code: 'LS001', message, hint });
  },
);

test.each<[call: string]>([[`check_argument('colour', 'blue', true, 'blue')`]])(
  'what is allowed passes: %s',
  async (call) => {
    expect(await evaluate(`${call} is null`)).toBe(false);
  },
);
