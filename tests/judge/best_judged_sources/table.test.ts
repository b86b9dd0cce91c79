import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `array(select external_id from unnest(best_judged_sources(array[row('discogs', '1', 'llm', 0.7, false), row('spotify', 'a', 'llm', 0.7, false), row('discogs', '2', 'llm', 0.8, true)]::judged_source[])))`,
    ['a', '2'],
  ],
  [
    `array(select external_id from unnest(best_judged_sources(array[row('discogs', '1', 'llm', 0.7, false), row('discogs', '2', 'llm', 0.7, false)]::judged_source[])))`,
    ['1'],
  ],
  [
    `array(select out_of_band from unnest(best_judged_sources(array[row('discogs', '1', 'llm', 0.7, false), row('discogs', '2', 'llm', 0.8, true)]::judged_source[])))`,
    [true],
  ],
  [`best_judged_sources('{}')`, null],
])(
  'of one source the entry of highest confidence stays, and the first among equals: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
