import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `jsonb_strip_nulls(to_jsonb(bare_verdict(3, 7, 'invalid_verdict')))`,
    {
      ordinal: 3,
      library_id: 7,
      outcome: 'invalid_verdict',
      null_confidence: 0,
      duplicate: 0,
      out_of_band: 0,
      unknown: 0,
    },
  ],
  [
    `jsonb_strip_nulls(to_jsonb(bare_verdict(null, 7, 'lml_error')))`,
    { library_id: 7, outcome: 'lml_error', null_confidence: 0, duplicate: 0, out_of_band: 0, unknown: 0 },
  ],
  [
    `jsonb_strip_nulls(to_jsonb(bare_verdict(3, null, 'invalid_verdict')))`,
    { ordinal: 3, outcome: 'invalid_verdict', null_confidence: 0, duplicate: 0, out_of_band: 0, unknown: 0 },
  ],
])(
  'a bare verdict says its outcome, refuses no source and holds nothing else: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
