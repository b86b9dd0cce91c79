import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `array(select outcome from unnest(mark_repeated(array(select jsonb_populate_record(null::judged_verdict, verdict) from jsonb_array_elements('[{"ordinal": 1, "library_id": 7, "outcome": "resolved"}, {"ordinal": 2, "library_id": 7, "outcome": "unresolved"}, {"ordinal": 3, "outcome": "invalid_verdict"}, {"ordinal": 4, "outcome": "invalid_verdict"}]') as verdict))))`,
    ['resolved', 'lml_untrusted_library_id', 'invalid_verdict', 'invalid_verdict'],
  ],
])(
  'the first of several verdicts on one library is trusted, the others are not: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
