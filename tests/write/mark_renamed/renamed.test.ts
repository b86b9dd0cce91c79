// An answer for a library that is called otherwise by now answers another question.
import { expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  type Fields,
  REPAIR,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  toText,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const rename = (id: number, name: string | null) =>
  writer.sql`update wxyc_schema.library set artist_name = ${name} where id = ${id}`;

/** Has verdicts applied that were asked for before something happened to the rows. */
async function askedBefore(change: () => PromiseLike<unknown>, verdicts: Fields[], origin = SERVICE) {
  const { sql } = writer;
  const ids = [DILATE, SANGOMA];
  const [{ asked_as }] = await sql<[{ asked_as: string[] }]>`
    select identity_sync_private.current_fingerprints(${ids}) as asked_as`;
  await change();
  const [{ report }] = await sql<[{ report: Fields }]>`
    select identity_sync.apply_identity_verdicts(
      response => ${toText(verdicts)}::text::jsonb, requested => ${ids}, origin => ${origin},
      verified_at => ${TUESDAY}, asked_as => ${asked_as}::bigint[]
    ) as report`;
  return report;
}

test.each([
  ['resolved it', singleArtist(DILATE)],
  ['did not', unresolved(DILATE)],
  ['called it a compilation', compilation(DILATE)],
  ['broke the contract', singleArtist(DILATE, { method: '' })],
])('where LML %s under its old name, it is a stale verdict that leaves nothing', async (_, verdict) => {
  await writer.service([singleArtist(DILATE)]);
  const before = await writer.identity(DILATE);

  const report = await askedBefore(() => rename(DILATE, 'Ani diFranco'), [verdict, unresolved(SANGOMA)]);

  expect(report).toEqual(reported({ rows_unresolved: 1, rows_skipped: { stale_verdict: 1 } }));
  expect(await writer.identity(DILATE)).toEqual(before);
  expect(await writer.quarantine()).toEqual([]);
  expect(await writer.attempts()).toMatchObject([{ library_id: SANGOMA }]);
});

test.each([
  ['lost its name', () => rename(DILATE, null)],
  ['has a blank name', () => rename(DILATE, ' ')],
  [
    'has another title',
    () => writer.sql`update wxyc_schema.library set album_title = 'Not a Pretty Girl' where id = ${DILATE}`,
  ],
])('so it is where the row %s', async (_, change) => {
  expect(await askedBefore(change, [singleArtist(DILATE), unresolved(SANGOMA)])).toMatchObject({
    rows_skipped: { stale_verdict: 1 },
  });
});

test('so are both where two rows have swapped their names', async () => {
  const swap = () => writer.sql`
    update wxyc_schema.library as one set artist_name = other.artist_name, album_title = other.album_title
    from wxyc_schema.library as other
    where one.id in (${DILATE}, ${SANGOMA}) and other.id in (${DILATE}, ${SANGOMA}) and one.id <> other.id`;
  expect(await askedBefore(swap, [singleArtist(DILATE), unresolved(SANGOMA)])).toMatchObject({
    rows_skipped: { stale_verdict: 2 },
  });
});

test('one that is missing counts as missing, and one that is gone as gone', async () => {
  expect(await askedBefore(() => rename(DILATE, 'Ani'), [unresolved(SANGOMA)])).toMatchObject({
    rows_skipped: { lml_cardinality_mismatch: 1, stale_verdict: 0 },
  });
  expect(
    await askedBefore(
      () => writer.sql`delete from wxyc_schema.library where id = ${DILATE}`,
      [singleArtist(DILATE), unresolved(SANGOMA)],
    ),
  ).toMatchObject({ rows_skipped: { library_gone: 1, stale_verdict: 0 } });
});

test('what a repair says counts, whatever the row is called', async () => {
  expect(
    await askedBefore(() => rename(DILATE, 'Ani'), [singleArtist(DILATE), unresolved(SANGOMA)], REPAIR),
  ).toMatchObject({ rows_resolved: 1 });
});
