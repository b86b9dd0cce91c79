// The judge's and the explainer's results over every kind of breach, as they were before both asked the same predicates.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  type Fields,
  leg,
  singleArtist,
  toText,
  unresolved,
  useWriter,
  Verbatim,
} from '../../support/writer.js';

const writer = useWriter();

const PATHS = [
  ...['library_id', 'kind', 'main', 'method', 'confidence', 'provenance', 'tracks_attempted', 'tracks'],
  ...['main.discogs_artist_id', 'main.musicbrainz_artist_id', 'main.wikidata_qid', 'main.spotify_artist_id'],
  ...['main.apple_music_artist_id', 'main.bandcamp_id', 'provenance.1', 'provenance.1.source'],
  ...['provenance.1.method', 'provenance.1.confidence', 'provenance.1.external_id'],
];

const VALUES: unknown[] = [
  ...[
    undefined,
    null,
    '',
    ' ',
    'discogs',
    'spotify',
    'tidal',
    'Discogs',
    'manual',
    'llm',
    'name_variation',
    'guess',
  ],
  ...['single_artist', 'compilation', 'unresolved', '7', '0.9', 'null', 'x'.repeat(512), 'x'.repeat(513)],
  ...[
    '🎷'.repeat(512),
    '🎷'.repeat(513),
    true,
    false,
    [],
    {},
    [null],
    [[]],
    ['source'],
    { source: 'discogs' },
  ],
  ...[0, 1, -1, 7, 7.5, 2147483647, 2147483648, -2147483648, -2147483649, 1.01, -0.01, 0.5],
  ...[0.59999, 0.599989, 0.79001, 0.790011, 0.89999, 0.899989, 0.99001, 0.990011, 0.99999, 0.999989],
  ...['1e400', '-1e400', '1e-400', '7.0', '0.0000001', `0.${'9'.repeat(400)}`, '0.8999999762'].map(
    (text) => new Verbatim(text),
  ),
];

const VERDICTS = {
  single_artist: singleArtist(DILATE),
  compilation: compilation(DILATE, {
    provenance: [leg('discogs', '1'), leg('spotify', 'a', { method: 'llm' })],
  }),
  unresolved: unresolved(DILATE, {
    provenance: [leg('discogs', '1'), leg('spotify', null, { confidence: null, method: null })],
  }),
};

/** A copy of a verdict with the value at a path replaced. */
function changed(verdict: Fields, path: string, value: unknown): Fields {
  const copy = structuredClone(verdict);
  const steps = path.split('.');
  const last = steps.pop()!;
  const parent = steps.reduce<Fields | null>((node, step) => (node?.[step] ?? null) as Fields | null, copy);
  if (parent) parent[last] = value;
  return copy;
}

const corpus = Object.entries(VERDICTS).flatMap(([kind, verdict]) =>
  PATHS.map((path) => ({
    about: `${kind}: ${path}`,
    verdicts: VALUES.map((value) => changed(verdict, path, value)),
  })),
);

test('every breach is judged and explained as before', async () => {
  const expected = JSON.parse(readFileSync(new URL('corpus.json', import.meta.url), 'utf8'));
  const results: Record<string, string> = {};
  for (const { about, verdicts } of corpus) {
    const [row] = await writer.sql<[{ result: string }]>`
      select md5(string_agg(concat_ws(
        '|', judged.outcome, judged.library_id,
        -- What a refused verdict holds is never looked at.
        case
          when judged.outcome <> 'invalid_verdict'
          then concat_ws(
            '|', judged.discogs_artist_id, judged.musicbrainz_artist_id, judged.wikidata_qid, judged.spotify_id,
            judged.apple_music_id, judged.bandcamp_id, judged.method, judged.confidence, judged.sources,
            judged.null_confidence, judged.duplicate, judged.out_of_band
          )
        end,
        explained.path, explained.value, explained.reason
      ), E'\n' order by strict.bands, listed.ordinal)) as result
      from jsonb_array_elements(${toText(verdicts)}::text::jsonb) with ordinality as listed (verdict, ordinal)
      cross join unnest(array[false, true]) as strict (bands)
      cross join lateral unnest(
        identity_sync_private.judge_identity_verdicts(jsonb_build_array(listed.verdict), null, strict.bands, '1')
      ) as judged
      cross join lateral identity_sync_private.explain_refusal(listed.verdict, strict.bands) as explained`;
    results[about] = row.result;
  }
  expect(results).toEqual(expected);
});
