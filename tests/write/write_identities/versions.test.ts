// Compared verdicts are written to the very rows that they were compared with, which the history keeps first.
import { beforeEach, describe, expect, test } from 'vitest';
import { arrayOf } from '../../support/composites.js';
import {
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  NEW_AMERYKAH,
  REPAIR,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

beforeEach(async () => {
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)], { verifiedAt: MONDAY });
});

/** A compared verdict: who the artist is now, and what is to become of the main row. */
const compared = (library_id: number, changes: Fields): Fields => ({
  ordinal: 1,
  library_id,
  outcome: 'resolved',
  discogs_artist_id: 5,
  method: 'exact_match',
  confidence: 0.5,
  sources: [],
  ...changes,
});

async function versionOf(id: number): Promise<string> {
  const [row] = await writer.sql`
    select ctid::text as version from wxyc_schema.library_identity where library_id = ${id}`;
  return row!.version;
}

/** Writes them as of Tuesday and returns how many rows went to the history. */
async function write(identities: Fields[], origin = SERVICE): Promise<number> {
  const { sql } = writer;
  const [row] = await sql<[{ kept: number }]>`
    select cardinality(
      identity_sync_private.write_identities(
        ${arrayOf(sql, 'judged_verdict', identities)}, ${origin}, ${TUESDAY}, 'a better guess'
      )
    ) as kept`;
  return row.kept;
}

test('one is inserted, one changed, one confirmed, and one that is not to be written stays away', async () => {
  const confirmed = await writer.identity(SANGOMA);

  const kept = await write([
    compared(ERASER, { action: 'inserted' }),
    compared(DILATE, { action: 'changed', version: await versionOf(DILATE) }),
    compared(SANGOMA, { action: 'unchanged', version: await versionOf(SANGOMA) }),
    compared(NEW_AMERYKAH, { outcome: 'manual_precedence', action: null }),
  ]);

  expect(kept).toBe(1);
  const written = { discogs_artist_id: 5, spotify_id: null, last_verified_at: TUESDAY, notes: SERVICE };
  expect(await writer.identity(ERASER)).toMatchObject(written);
  expect(await writer.identity(DILATE)).toMatchObject(written);
  expect(await writer.identity(SANGOMA)).toEqual({ ...confirmed, last_verified_at: TUESDAY });
  expect(await writer.identity(NEW_AMERYKAH)).toBeUndefined();
});

test.each([
  [SERVICE, 'verdict'],
  [REPAIR, 'repair'],
])('the history says what %s did', async (origin, reason_category) => {
  await write([compared(DILATE, { action: 'changed', version: await versionOf(DILATE) })], origin);
  expect(await writer.history(DILATE)).toMatchObject([
    { discogs_artist_id: 11442, superseded_reason: 'a better guess', reason_category },
  ]);
});

test('what is neither inserted, changed nor confirmed leaves no trace', async () => {
  const before = await writer.everything();
  expect(await write([compared(DILATE, { action: 'unchanged' })])).toBe(0);
  expect(await writer.everything()).toEqual(before);
});

describe('where another writer was there since they were compared, nothing is written:', () => {
  test.each([
    ['changed', /^identities changed: 0 of 1 rows/],
    ['unchanged', /^identities confirmed: 0 of 1 rows/],
  ])('%s', async (action, message) => {
    const version = await versionOf(DILATE);
    await writer.sql`update wxyc_schema.library_identity set discogs_master_id = 7 where library_id = ${DILATE}`;
    const before = await writer.everything();

    const writing = write([compared(ERASER, { action: 'inserted' }), compared(DILATE, { action, version })]);

    await expect(writing).rejects.toMatchObject({ code: 'LS006', message: expect.stringMatching(message) });
    expect(await writer.everything()).toEqual(before);
  });

  test('changed, and gone', async () => {
    const version = await versionOf(DILATE);
    await writer.sql`delete from wxyc_schema.library_identity where library_id = ${DILATE}`;
    await expect(write([compared(DILATE, { action: 'changed', version })])).rejects.toMatchObject({
      code: 'LS006',
      message: expect.stringMatching(/^identities kept in history: 0 of 1 rows/),
    });
  });
});
