import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`(explain_refusal('[]', false)).reason`, 'the verdict is []; allowed: an object'],
  [`(explain_refusal('{"library_id": 7, "kind": "unresolved", "provenance": []}', false)).reason`, null],
  [
    `(explain_refusal('{"library_id": 7, "kind": "guess"}', false)).reason`,
    'kind is "guess"; allowed: single_artist, compilation, unresolved',
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {"bandcamp_id": 7, "wikidata_qid": 8}}', false)).reason`,
    'main.wikidata_qid is 8; allowed: a string of 1 to 512 characters, not blank, or null',
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {}, "method": "llm", "confidence": 1, "provenance": [{"source": "discogs", "method": "llm", "confidence": 1, "external_id": "1"}]}', false)).reason`,
    null,
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {}, "method": "llm", "confidence": 1, "provenance": [{"source": "discogs", "method": "llm", "confidence": 1, "external_id": "1"}]}', true)).reason`,
    'provenance[0].confidence is 1; allowed: 0.60 to 0.79 for method llm (strict bands)',
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {}, "method": "llm", "confidence": 1, "provenance": [{"source": "discogs", "method": "llm", "confidence": 1, "external_id": "1"}, {"source": "tidal"}]}', true)).reason`,
    'provenance[1].source is "tidal"; allowed: discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp (strict bands)',
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {"bandcamp_id": null}, "method": "llm", "confidence": 1, "provenance": [{"source": "discogs", "method": null, "confidence": null, "external_id": null}, {"source": "spotify"}]}', false)).reason`,
    'main is {"bandcamp_id": null}; allowed: an object with one id or more, where no source has an external_id',
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "single_artist", "main": {"discogs_artist_id": 7}, "method": "llm", "confidence": 1, "provenance": []}', false)).reason`,
    null,
  ],
  [
    `(explain_refusal('{"library_id": 7, "kind": "compilation", "provenance": [{"source": 7, "confidence": 1}, 7]}', true)).reason`,
    'provenance[0].source is 7; allowed: discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp (strict bands)',
  ],
])('the first breach in reading order is named, and a band last: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});

test('the last of very many entries is found as quickly as it is judged', async () => {
  const leg = '{"source": "tidal", "method": "fuzzy", "confidence": 1, "external_id": "1"},';
  const verdict = `('{"library_id": 7, "kind": "compilation", "provenance": [' || repeat('${leg}', 50000) || '7]}')::jsonb`;
  const timed = async (expression: string) => {
    const started = performance.now();
    return { value: await evaluate(expression), took: performance.now() - started };
  };
  const judged = await timed(
    `cardinality(judge_identity_verdicts(jsonb_build_array(${verdict}), null, false, null))`,
  );
  const explained = await timed(`(explain_refusal(${verdict}, false)).reason`);
  expect(explained.value).toBe('provenance[50000] is 7; allowed: an object');
  // Words for each of them took eight times as long.
  expect(explained.took / judged.took).toBeLessThan(4);
});
