import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`(describe_refusal('kind', '7', 'a kind')).reason`, 'kind is 7; allowed: a kind'],
  [`(describe_refusal('kind', null, 'a kind')).reason`, 'kind is missing; allowed: a kind'],
  [`(describe_refusal('', '[]', 'an object')).reason`, 'the verdict is []; allowed: an object'],
  [`(describe_refusal('kind', '7', 'a kind')).value`, 7],
  [`length((describe_refusal('kind', to_jsonb(repeat('x', 1000)), 'a kind')).value #>> '{}')`, 201],
  [`(describe_refusal('year', repeat('7', 200)::jsonb, 'less')).value::text = repeat('7', 200)`, true],
  [
    `(describe_refusal('year', repeat('7', 201)::jsonb, 'less')).value = to_jsonb(repeat('7', 200) || '…')`,
    true,
  ],
  [
    `(describe_refusal('kind', (select jsonb_agg('1e131071'::jsonb) from generate_series(1, 9000)), 'a kind')).reason`,
    'kind is an array of 9000 elements; allowed: a kind',
  ],
  [`(describe_refusal('kind', '{"a": 1e131071}', 'a kind')).value`, 'an object of 1 fields'],
  [`(describe_refusal('confidence', '1e131071', 'less')).value`, 'a number of very many digits'],
  [`(describe_refusal('confidence', '-1e-16000', 'less')).value`, 'a number of very many digits'],
])('a refusal names the field, its value and what is allowed: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
