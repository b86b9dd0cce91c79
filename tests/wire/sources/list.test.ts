import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`array_to_string(sources(), ', ')`, 'discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp'],
  [`cardinality(array(select distinct unnest(sources()))) = cardinality(sources())`, true],
  [`cardinality(sources()) <= 31`, true],
])('each source stands once, in the order of a refusal: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
