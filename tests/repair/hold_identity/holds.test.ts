// A held library stays as it is, with or without an identity, until it is released.
import { describe, expect, test } from 'vitest';
import { call, candidates } from '../../support/catalogue.js';
import { watchStatements } from '../../support/statements.js';
import {
  compilation,
  DILATE,
  NOWHERE,
  SANGOMA,
  singleArtist,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

async function hold(library_id: number | null, reason: string | null = 'two acts of one name') {
  const [row] = await call<{ hold_identity: unknown }>(writer.sql, 'hold_identity', { library_id, reason });
  return row!.hold_identity;
}
const release = () => call(writer.sql, 'release_identity', { library_id: DILATE, reason: 'settled' });
const isDue = async () => (await candidates(writer.sql, { include_null_canonical: true })).includes(DILATE);
const other = { main: { discogs_artist_id: 7 }, provenance: [] };

test('an identity that is held is not overwritten, and its row as it was is kept with the reason', async () => {
  await writer.service([singleArtist(DILATE)]);
  const before = await writer.identity(DILATE);

  expect(await hold(DILATE)).toEqual({ library_id: DILATE, identity: 'held' });

  expect(await writer.history(DILATE)).toMatchObject([
    { discogs_artist_id: 11442, superseded_reason: 'two acts of one name', reason_category: 'hold' },
  ]);
  expect(await writer.service([singleArtist(DILATE, other)], { verifiedAt: new Date() })).toMatchObject({
    rows_skipped: { manual_precedence: 1 },
  });
  expect(await writer.identity(DILATE)).toEqual({ ...before, notes: expect.stringMatching(/^repair:/) });
});

describe('a library without an identity that is held', () => {
  test('is not due, and gets no identity where it is asked all the same', async () => {
    expect(await hold(DILATE)).toEqual({ library_id: DILATE, identity: 'none' });

    expect(await isDue()).toBe(false);
    expect(
      await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)], { verifiedAt: new Date() }),
    ).toMatchObject({ rows_resolved: 1, rows_skipped: { manual_precedence: 1 } });
    expect(await writer.identity(DILATE)).toBeUndefined();
    expect(await isDue()).toBe(false);
  });

  test('stays so after years, and after a refusal', async () => {
    await hold(DILATE);
    await writer.sql`
      update identity_sync.attempt
      set attempted_at = now() - interval '9 years', released_at = now() - interval '9 years'`;
    await writer.service([singleArtist(DILATE, { kind: 'x' })], { verifiedAt: new Date() });
    expect(await isDue()).toBe(false);
    expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'held' }]);
  });

  test('is written by a repair, which holds in its stead', async () => {
    await hold(DILATE);
    expect(await writer.repair([singleArtist(DILATE)])).toMatchObject({ rows_resolved: 1 });
    expect(await writer.attempts()).toEqual([]);
  });

  test.each([
    ['unresolved', unresolved(DILATE)],
    ['a compilation', compilation(DILATE)],
  ])('stays so after a repair that says %s', async (_, verdict) => {
    await hold(DILATE);
    await writer.repair([verdict]);
    expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'held' }]);
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() })).toMatchObject({
      rows_skipped: { manual_precedence: 1 },
    });
  });

  test('is due when it is released', async () => {
    await hold(DILATE);
    await release();
    expect(await isDue()).toBe(true);
    expect(await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() })).toMatchObject({
      rows_resolved: 1,
    });
  });
});

test('an identity that is held is let go when it is released', async () => {
  await writer.service([singleArtist(DILATE)]);
  await hold(DILATE);
  await release();
  expect(await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() })).toMatchObject({
    rows_resolved: 1,
  });
});

test.each<[string, number | null, string | null, string]>([
  ['an empty reason', DILATE, ' ', 'LS001'],
  ['no reason', DILATE, null, 'LS001'],
  ['an unknown library', NOWHERE, 'why not', 'LS002'],
  ['no library', null, 'why not', 'LS002'],
])('%s is refused, and nothing is held', async (_, id, reason, code) => {
  await writer.service([singleArtist(DILATE)]);
  await expect(hold(id, reason)).rejects.toMatchObject({ code });
  expect(await writer.history(DILATE)).toEqual([]);
});

test('a library without an identity is held without a statement on the tables of the station', async () => {
  const statements = await watchStatements(writer.sql);
  await hold(DILATE);
  expect(await statements()).toEqual([]);
});
