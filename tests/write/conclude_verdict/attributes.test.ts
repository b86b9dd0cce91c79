// A verdict keeps what the judge found, and what becomes of it replaces the rest.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const JUDGED = {
  ordinal: 3,
  library_id: 7,
  outcome: 'resolved',
  discogs_artist_id: 11442,
  musicbrainz_artist_id: 'a7bdc71f-697a-45d9-92b2-a01fbbe50272',
  wikidata_qid: 'Q232462',
  spotify_id: '0AiTwNtYX8m4uhfU7rJ8RD',
  apple_music_id: '3627568',
  bandcamp_id: 'anidifranco',
  method: 'exact_match',
  confidence: 0.97,
  sources: [
    { source: 'discogs', external_id: '11442', method: 'exact_match', confidence: 1, out_of_band: false },
  ],
  null_confidence: 1,
  duplicate: 2,
  out_of_band: 4,
  unknown: 5,
  action: 'unchanged',
  version: '(1,2)',
  refusal: { sqlstate: '23505', message: 'duplicate key', constraint_name: 'one_pressing' },
};

async function conclude(args: string) {
  const [row] = await database.sql.unsafe(
    `select to_jsonb(
      identity_sync_private.conclude_verdict(
        jsonb_populate_record(null::identity_sync_private.judged_verdict, $1::text::jsonb), ${args}
      )
    ) as verdict`,
    [JSON.stringify(JUDGED)],
  );
  return row!.verdict;
}

test('an outcome alone takes back what became of the row', async () => {
  expect(await conclude(`'stale_verdict'`)).toEqual({
    ...JUDGED,
    outcome: 'stale_verdict',
    action: null,
    version: null,
    refusal: null,
  });
});

test('action, version and refusal are set where they are given', async () => {
  expect(await conclude(`'resolved', 'changed', '(3,4)'`)).toEqual({
    ...JUDGED,
    action: 'changed',
    version: '(3,4)',
    refusal: null,
  });
  expect(
    await conclude(
      `'writer_error', refusal => row('23514', 'check', 'two')::identity_sync_private.writer_refusal`,
    ),
  ).toEqual({
    ...JUDGED,
    outcome: 'writer_error',
    action: null,
    version: null,
    refusal: { sqlstate: '23514', message: 'check', constraint_name: 'two' },
  });
});

test('it costs a batch no calls: PostgreSQL inlines it', async () => {
  const plan = await database.sql`
    explain (verbose)
    select identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
    from unnest(null::identity_sync_private.judged_verdict[]) as verdict`;
  expect(JSON.stringify(plan)).toContain('stale_verdict');
  expect(JSON.stringify(plan)).not.toContain('conclude_verdict');
});
