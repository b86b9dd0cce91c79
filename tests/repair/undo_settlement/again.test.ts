// Whatever two runs say one after the other: the second one is undone to what was before it, and once more it makes the
// same tables as the first time.
import { expect, test } from 'vitest';
import fc from '../../support/fast-check.js';
import { answer, track, useTracks } from '../../support/tracks.js';
import { lastRun, stored, storedWithoutTimes, undo } from '../../support/undo.js';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  VARIOUS,
  WEDNESDAY,
} from '../../support/writer.js';

const tracks = useTracks();

const LIBRARIES = [DILATE, ERASER, SANGOMA, NEW_AMERYKAH, VARIOUS];
const CREDITS = [
  ['Ani DiFranco', null],
  ['Thom Yorke', 'Analyse'],
] as const;

const confidence = fc.constantFrom(0.9, 0.95, 1);
const provenance = fc
  .uniqueArray(fc.constantFrom('discogs', 'spotify', 'bandcamp', 'wikidata'), { maxLength: 3 })
  .chain((sources) =>
    fc.tuple(
      ...sources.map((source) =>
        fc
          .record({ id: fc.constantFrom('1', '2'), confidence: fc.constantFrom(0.99, 1, null) })
          .map(({ id, confidence: sure }) =>
            leg(
              source,
              sure === null ? null : id,
              sure === null ? { method: null, confidence: null } : { confidence: sure },
            ),
          ),
      ),
    ),
  );
const links = fc.tuple(
  ...CREDITS.map(([artist, title]) =>
    fc
      .record({
        resolved_artist_name: fc.constantFrom('Unnamed', 'Unknown', null),
        track_position: fc.constantFrom('A1', null),
        confidence,
      })
      .map((changes) => track(artist, title, changes)),
  ),
);

function verdictOf(id: number): fc.Arbitrary<Fields | null> {
  return fc.oneof(
    fc.constant(null),
    {
      weight: 4,
      arbitrary: fc
        .record({ provenance, confidence, discogs: fc.constantFrom(1, 2, null) })
        .map(({ discogs, ...said }) => singleArtist(id, { ...said, main: { discogs_artist_id: discogs } })),
    },
    links.map((tracks) => compilation(id, { tracks_attempted: true, tracks })),
    fc.constantFrom(unresolved(id), compilation(id), { ...unresolved(id), kind: 'hunch' }),
  );
}

const run = fc
  .tuple(...LIBRARIES.map(verdictOf))
  .map((verdicts) => verdicts.filter((verdict) => verdict !== null));

test('undo and a second identical run give the same tables', async () => {
  const { sql, writer } = tracks;
  for (const [artist, title] of CREDITS) await tracks.credit(VARIOUS, artist, title);

  await fc.assert(
    fc
      .asyncProperty(run, run, fc.boolean(), async (first, second, isRepair) => {
        const applied = (verdicts: Fields[], verifiedAt: Date) =>
          writer.apply(answer(verdicts), {
            requested: verdicts.map((verdict) => verdict.library_id as number),
            origin: SERVICE,
            verifiedAt,
          });
        if (isRepair) await writer.repair(first, { verifiedAt: MONDAY });
        else await applied(first, MONDAY);
        const before = await stored(sql);

        await applied(second, TUESDAY);
        const [runId, once] = [await lastRun(sql), await storedWithoutTimes(sql)];
        const confirmed = await stored(sql);
        expect(await undo(sql, runId)).toMatchObject({ newer: 0, held: 0 });

        const after = await stored(sql);
        // What was only confirmed keeps the time of that.
        for (const row of before.identities!) {
          const same = confirmed.identities!.find(({ library_id }) => library_id === row.library_id);
          const undone = after.identities!.find(({ library_id }) => library_id === row.library_id);
          expect([row.last_verified_at, same!.last_verified_at]).toContainEqual(undone!.last_verified_at);
          row.last_verified_at = undone!.last_verified_at;
        }
        expect(after).toEqual(before);

        await applied(second, WEDNESDAY);
        expect(await storedWithoutTimes(sql)).toBe(once);
      })
      .beforeEach(async () => {
        await sql.unsafe(`
          delete from wxyc_schema.library_identity_source; delete from wxyc_schema.library_identity;
          delete from identity_sync.attempt; delete from identity_sync.quarantined_verdict;
          update wxyc_schema.compilation_track_artist set track_artist_id = null, track_artist_link_method = null,
            track_artist_link_confidence = null, track_position = null;`);
      }),
    { numRuns: 60 },
  );
});
