// Changes to source rows reach the very rows that were compared, which are kept first.
import { beforeEach, expect, test } from 'vitest';
import { arrayOf } from '../../support/composites.js';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const FOUND = { external_id: 'ani', method: 'exact_match', confidence: 1 };

beforeEach(async () => {
  const provenance = ['discogs', 'spotify', 'bandcamp'].map((source) => leg(source, 'ani'));
  await writer.service([singleArtist(DILATE, { provenance })], { verifiedAt: MONDAY });
});

/** A change to a source row of Dilate, as the comparison found it. */
async function change(source: string, action: string, changes: Fields = {}): Promise<Fields> {
  const [row] = await writer.sql`
    select ctid::text as version from wxyc_schema.library_identity_source
    where library_id = ${DILATE} and source = ${source}`;
  return { library_id: DILATE, source, action, ...row, is_of_new_identity: false, ...changes };
}

/** Writes them as of Tuesday; `uncompared` are the rows of new identities that need no comparing. */
async function write(changes: Fields[], identities: Fields[] = [], uncompared = 0) {
  const { sql } = writer;
  const number = (action: string) => changes.filter((one) => one.action === action).length;
  await sql`
    select identity_sync_private.write_sources(
      ${arrayOf(sql, 'judged_verdict', identities)},
      row(
        ${uncompared}::integer, ${arrayOf(sql, 'source_change', changes)},
        ${number('inserted')}::integer, ${number('changed')}::integer, 0, ${number('removed')}::integer
      )::identity_sync_private.compared_sources,
      ${SERVICE}, ${TUESDAY}, 41, 'a better guess'
    )`;
}

test('one is inserted, one changed, one removed, and each leaves what undoing needs', async () => {
  const changed = { ...FOUND, external_id: 'difranco' };
  await write([
    await change('wikidata', 'inserted', FOUND),
    await change('discogs', 'changed', changed),
    await change('spotify', 'removed'),
  ]);

  expect(await writer.sources(DILATE)).toMatchObject({
    wikidata: { ...FOUND, last_verified_at: TUESDAY, notes: SERVICE },
    discogs: { ...changed, last_verified_at: TUESDAY, notes: SERVICE },
    bandcamp: { ...FOUND, last_verified_at: MONDAY },
  });
  expect(Object.keys(await writer.sources(DILATE))).toHaveLength(3);
  const superseded = await writer.superseded(DILATE);
  expect(superseded.map(({ source, action, external_id }) => [source, action, external_id]).sort()).toEqual([
    ['discogs', 'changed', 'ani'],
    ['spotify', 'removed', 'ani'],
    ['wikidata', 'inserted', null],
  ]);
});

test('a source of a new identity is inserted without a record of its own', async () => {
  const identity = { ordinal: 1, library_id: ERASER, outcome: 'resolved', action: 'inserted' };
  await write([], [{ ...identity, sources: [{ source: 'discogs', ...FOUND }] }], 1);
  await write([await change('wikidata', 'inserted', { ...FOUND, is_of_new_identity: true })]);

  expect(await writer.sources(ERASER)).toMatchObject({ discogs: FOUND });
  expect(await writer.sources(DILATE)).toMatchObject({ wikidata: FOUND });
  expect(await writer.superseded(ERASER)).toEqual([]);
  expect(await writer.superseded(DILATE)).toEqual([]);
});

test.each([
  ['changed', /^source rows changed: 0 of 1 rows/],
  ['removed', /^source rows removed: 0 of 1 rows/],
])('where another writer was there since it was compared, none is %s', async (action, message) => {
  const stale = await change('discogs', action, FOUND);
  await writer.sql`
    update wxyc_schema.library_identity_source set notes = 'backfill'
    where library_id = ${DILATE} and source = 'discogs'`;
  const before = await writer.everything();

  const writing = write([await change('wikidata', 'inserted', FOUND), stale]);

  await expect(writing).rejects.toMatchObject({ code: 'LS006', message: expect.stringMatching(message) });
  expect(await writer.everything()).toEqual(before);
});
