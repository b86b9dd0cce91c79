import { expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  leg,
  NOWHERE,
  SANGOMA,
  singleArtist,
  toText,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

test.each([
  ['in the order of the request', [DILATE, ERASER], [DILATE, ERASER], ['unresolved', 'unresolved']],
  ['in another order', [ERASER, DILATE], [DILATE, ERASER], ['unresolved', 'unresolved']],
  [
    'one that was not requested, beyond the last place',
    [DILATE, ERASER],
    [DILATE],
    ['unresolved', 'lml_untrusted_library_id'],
  ],
  [
    'one that was not requested, in the place of another',
    [SANGOMA, ERASER],
    [DILATE, ERASER],
    ['lml_untrusted_library_id', 'unresolved', 'lml_cardinality_mismatch'],
  ],
  [
    'one that the library has no more, answered or not',
    [NOWHERE, DILATE],
    // As many as the catalogue has.
    [NOWHERE, DILATE, NOWHERE + 1, NOWHERE + 2, NOWHERE + 3],
    ['library_gone', 'unresolved', 'library_gone', 'library_gone', 'library_gone'],
  ],
  [
    'none for the second time',
    [DILATE, ERASER, DILATE],
    [DILATE, ERASER],
    ['unresolved', 'unresolved', 'lml_untrusted_library_id'],
  ],
  ['any id, where nothing was requested', [SANGOMA, ERASER], null, ['unresolved', 'unresolved']],
])('only a requested id is trusted: %s', async (_, answered, requested, outcomes) => {
  const results = toText(answered.map((id) => unresolved(id)));
  const [{ judged }] = await writer.sql<[{ judged: string[] }]>`
    select array(
      select verdict.outcome
      from unnest(
        identity_sync_private.judge_identity_verdicts(${results}::text::jsonb, ${requested}::integer[], false, '1')
      ) as verdict
      order by verdict.ordinal nulls last, verdict.library_id
    ) as judged`;
  expect(judged).toEqual(outcomes);
});

test.each([
  ['discogs', [leg('discogs', '1', { method: 'llm', confidence: 0.1 }), leg('discogs', '2')]],
  ['deezer', [leg('deezer', '3', { method: 'hunch', confidence: 0.2 }), leg('deezer', '4')]],
])('of a source named twice only what is written is counted: %s', async (source, provenance) => {
  const [row] = await writer.sql`
    select duplicate, out_of_band, unknown, cardinality(sources) as written
    from unnest(identity_sync_private.judge_identity_verdicts(
      ${toText([singleArtist(DILATE, { provenance })])}::text::jsonb, null, false, '1'))`;
  expect(row).toEqual({ duplicate: 1, out_of_band: 0, unknown: source === 'deezer' ? 1 : 0, written: 1 });
});

test('an unknown source and an unknown method are both counted', async () => {
  const provenance = [leg('deezer', '1'), leg('discogs', '2', { method: 'hunch' }), leg('spotify', '3')];
  const [row] = await writer.sql`
    select unknown
    from unnest(identity_sync_private.judge_identity_verdicts(
      ${toText([singleArtist(DILATE, { provenance })])}::text::jsonb, null, false, '1'))`;
  expect(row).toEqual({ unknown: 2 });
});

test.each([
  [{ discogs_artist_id: 7 }, 'resolved'],
  [{ bandcamp_id: 'b' }, 'resolved'],
  [{}, 'invalid_verdict'],
])('one id names an artist, with no source beside it: %j is %s', async (main, outcome) => {
  const [row] = await writer.sql`
    select outcome
    from unnest(identity_sync_private.judge_identity_verdicts(
      ${toText([singleArtist(DILATE, { main, provenance: [] })])}::text::jsonb, null, false, '1'))`;
  expect(row).toEqual({ outcome });
});
