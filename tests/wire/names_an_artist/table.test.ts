import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`names_an_artist('{"kind": "unresolved", "main": null, "provenance": []}')`, true],
  [`names_an_artist('{"kind": "single_artist", "main": {}, "provenance": []}')`, false],
  [`names_an_artist('{"kind": "single_artist", "main": {"bandcamp_id": null}, "provenance": []}')`, false],
  [`names_an_artist('{"kind": "single_artist", "main": {"discogs_artist_id": 7}, "provenance": []}')`, true],
  [`names_an_artist('{"kind": "single_artist", "main": {"deezer_id": 7}, "provenance": []}')`, false],
  [
    `names_an_artist('{"kind": "single_artist", "main": {}, "provenance": [{"external_id": null}, {}]}')`,
    false,
  ],
  [
    `names_an_artist('{"kind": "single_artist", "main": {}, "provenance": [{}, {"external_id": "7"}]}')`,
    true,
  ],
  [`names_an_artist('{"kind": "single_artist", "main": 7, "provenance": "x"}')`, false],
  [`names_an_artist('{"kind": "single_artist"}')`, false],
])('an artist is named by an id or by a source: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
