// An operator lets go of an identity: what LML composed goes, what others wrote stays, and the record is due at once.
import { describe, expect, test } from 'vitest';
import { call, candidates } from '../../support/catalogue.js';
import { watchStatements } from '../../support/statements.js';
import { DILATE, NOWHERE, SERVICE, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

async function release(library_id: number | null, reason: string | null = 'the wrong band') {
  const [row] = await call<{ release_identity: unknown }>(writer.sql, 'release_identity', {
    library_id,
    reason,
  });
  return row!.release_identity;
}

const isDue = async () => (await candidates(writer.sql, { include_null_canonical: true })).includes(DILATE);

/** Has Dilate identified a moment ago, so that it is not due. */
const identify = () => writer.service([singleArtist(DILATE)], { verifiedAt: new Date() });

test('an identity of ours is removed with its sources, both are kept with the reason, and the record is due', async () => {
  await identify();
  expect(await isDue()).toBe(false);

  expect(await release(DILATE)).toEqual({ library_id: DILATE, identity: 'removed', sources_removed: 2 });

  expect(await writer.identity(DILATE)).toBeUndefined();
  expect(await writer.sources(DILATE)).toEqual({});
  expect(await writer.history(DILATE)).toMatchObject([
    { discogs_artist_id: 11442, superseded_reason: 'the wrong band', reason_category: 'release' },
  ]);
  const removed = { action: 'removed', superseded_reason: 'the wrong band' };
  expect(await writer.superseded(DILATE)).toMatchObject([removed, removed]);
  expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'released' }]);
  expect(await isDue()).toBe(true);
});

test('a row with columns of another writer is emptied of ours, and resolves nothing any more', async () => {
  await identify();
  await writer.sql`update wxyc_schema.library_identity set discogs_master_id = 7`;

  expect(await release(DILATE)).toMatchObject({ identity: 'emptied' });

  expect(await writer.identity(DILATE)).toMatchObject({
    discogs_master_id: 7,
    discogs_artist_id: null,
    spotify_id: null,
    confidence: 0,
    notes: SERVICE,
  });
  expect(await isDue()).toBe(true);
});

test('a source of another writer stays', async () => {
  await identify();
  await writer.sql`update wxyc_schema.library_identity_source set notes = 'backfill' where source = 'spotify'`;

  expect(await release(DILATE)).toMatchObject({ sources_removed: 1 });

  expect(Object.keys(await writer.sources(DILATE))).toEqual(['spotify']);
});

test('a record without an identity is due, too', async () => {
  expect(await release(DILATE)).toEqual({ library_id: DILATE, identity: 'none', sources_removed: 0 });
  expect(await isDue()).toBe(true);
});

test('a hold by hand ends: the service may write again', async () => {
  await writer.repair([singleArtist(DILATE)]);
  await release(DILATE);
  expect(await writer.service([singleArtist(DILATE)], { verifiedAt: new Date() })).toMatchObject({
    rows_resolved: 1,
  });
});

describe('what is refused, with nothing changed,', () => {
  test.each<[string, number | null, string | null, string]>([
    ['an empty reason', DILATE, ' ', 'LS001'],
    ['no reason', DILATE, null, 'LS001'],
    ['an unknown record', NOWHERE, 'why not', 'LS002'],
    ['no record', null, 'why not', 'LS002'],
  ])('is %s', async (_, library_id, reason, code) => {
    await identify();
    const before = await writer.everything();
    await expect(release(library_id, reason)).rejects.toMatchObject({ code });
    expect(await writer.everything()).toEqual(before);
  });
});

test('a library without an identity is released without a statement on the tables of the station', async () => {
  const statements = await watchStatements(writer.sql);
  await release(DILATE);
  expect(await statements()).toEqual([]);
});
