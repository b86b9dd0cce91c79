import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`source_bit('discogs')`, 1],
  [`source_bit('musicbrainz')`, 2],
  [`source_bit('bandcamp')`, 32],
  [`source_bit('tidal')`, null],
  [`source_bit('Discogs')`, null],
  [`source_bit('')`, null],
  [`source_bit(null)`, null],
  [`(select sum(source_bit(source)) = bit_or(source_bit(source)) from unnest(sources()) as source)`, true],
  [
    `(select sum(source_bit(source)) = bit_or(source_bit(source)) from unnest('{discogs, spotify, discogs}'::text[]) as source)`,
    false,
  ],
])('a bit for each source, and none for what is no source: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
