import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `array(select resolved_artist_name from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'A', 0.5, false, 'A1', false), row('Thom Yorke', 'Analyse', 'B', 0.9, false, 'A1', false)]::judged_track[])))`,
    ['B'],
  ],
  [
    `array(select track_position from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'A', 0.5, false, 'A1', false), row('Thom Yorke', 'Analyse', 'B', 0.9, false, 'A1', false)]::judged_track[])))`,
    ['A1'],
  ],
  [
    `array(select resolved_artist_name from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'B', 0.9, false, 'A1', false), row('Thom Yorke', 'Analyse', 'C', 0.9, false, 'B2', false)]::judged_track[])))`,
    ['B'],
  ],
  [
    `array(select track_position from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'B', 0.9, false, 'A1', false), row('Thom Yorke', 'Analyse', 'C', 0.9, false, 'B2', false)]::judged_track[])))`,
    [null],
  ],
  [
    `array(select ambiguous_position from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'B', 0.9, false, 'A1', false), row('Thom Yorke', 'Analyse', 'C', 0.9, false, 'B2', false)]::judged_track[])))`,
    [true],
  ],
  [
    `array(select artist_name from unnest(best_judged_tracks(array[row(null, null, null, null, null, null, null), row('Thom Yorke', 'Analyse', 'A', 0.5, false, 'A1', false), row(null, null, null, null, null, null, null)]::judged_track[])))`,
    [null, 'Thom Yorke', null],
  ],
  [
    `array(select ambiguous_position from unnest(best_judged_tracks(array[row('Thom Yorke', 'Analyse', 'A', 0.5, false, null, false), row('Thom Yorke', 'Analyse', 'B', 0.9, false, null, false)]::judged_track[])))`,
    [false],
  ],
])(
  'of one key the entry of highest confidence stays, with a position that all agree on: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
