import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`judge_tracks('null')`, null],
  [`judge_tracks('[]')`, null],
  [
    `array(select artist_name from unnest(judge_tracks('[{"artist_name": "Thom Yorke"}, 7, {"artist_name": " "}, {"artist_name": 7}]')))`,
    ['Thom Yorke', null, null, null],
  ],
  [
    `array(select confidence from unnest(judge_tracks('[{"artist_name": "a", "confidence": 0.9}, {"artist_name": "b", "confidence": 7}, {"artist_name": "c"}]')))`,
    [0.9, null, null],
  ],
  [
    `array(select confidence_out_of_range from unnest(judge_tracks('[{"artist_name": "a", "confidence": 0.9}, {"artist_name": "b", "confidence": 7}]')))`,
    [false, true],
  ],
  [
    `array(select track_position from unnest(judge_tracks('[{"artist_name": "a", "track_position": " "}, {"artist_name": "b", "track_position": "B2"}]')))`,
    [null, 'B2'],
  ],
  [
    `array(select confidence from unnest(judge_tracks('[{"artist_name": "a", "confidence": 0.5}, {"artist_name": "a", "confidence": 0.9}]')))`,
    [0.9],
  ],
  [
    `array(select artist_name is null from unnest(judge_tracks(jsonb_build_array(jsonb_build_object('artist_name', repeat('x', 255)), jsonb_build_object('artist_name', repeat('x', 256))))))`,
    [false, true],
  ],
  [
    `array(select artist_name is null from unnest(judge_tracks((select jsonb_agg(jsonb_build_object('artist_name', field || length, field, repeat('x', length))) from unnest(array['track_title', 'resolved_artist_name']) as field, unnest(array[255, 256]) as length))))`,
    [false, true, false, true],
  ],
  [
    `(select array_agg(judge_tracks(jsonb_build_array(jsonb_build_object('artist_name', 'a') || entry)) is not distinct from array[row(null, null, null, null, null, null, null)::judged_track]) from unnest(array['{"track_title": 7}', '{"resolved_artist_name": 7}', '{"track_position": 7}', '{"confidence": "7"}', '{"confidence": null}']::jsonb[]) as entry)`,
    [true, true, true, true, false],
  ],
])('each entry is judged on its own, and one a key is kept: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
