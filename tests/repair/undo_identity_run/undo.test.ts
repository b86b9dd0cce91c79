// A run is taken back: what it wrote becomes what it was before, and nothing else is touched.
import { beforeEach, describe, expect, test } from 'vitest';
import { candidates } from '../../support/catalogue.js';
import { lastRun, stored, undo } from '../../support/undo.js';
import {
  compilation,
  DILATE,
  ERASER,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  NOWHERE,
  REPAIR,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  WEDNESDAY,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const renamed = (id: number) =>
  withMain(
    singleArtist(id, { provenance: [leg('discogs', '7'), leg('bandcamp', 'stranger')], confidence: 0.96 }),
    { discogs_artist_id: 7 },
  );

beforeEach(async () => {
  await writer.sql`truncate identity_sync.run cascade`;
});

describe('what a run wrote becomes again what it was before', () => {
  test('rows that it inserted go, with their sources, and are due', async () => {
    const before = await stored(writer.sql);
    await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
    const runId = await lastRun(writer.sql);

    expect(await undo(writer.sql, runId)).toMatchObject({
      of_run_id: Number(runId),
      identity: { removed: 2, restored: 0 },
      source: { removed: 4, restored: 0 },
      newer: 0,
      held: 0,
    });

    expect(await stored(writer.sql)).toEqual(before);
    expect(await writer.history(DILATE)).toMatchObject([
      { discogs_artist_id: 11442, reason_category: 'undo' },
    ]);
    expect(await candidates(writer.sql)).toEqual(expect.arrayContaining([DILATE, ERASER]));
  });

  test('rows that it changed come back with their old times, sources added and removed alike, and are due', async () => {
    const lately = new Date(Date.now() - 60_000);
    await writer.service([singleArtist(DILATE)], { verifiedAt: lately });
    const before = await stored(writer.sql);
    await writer.service([renamed(DILATE)], { verifiedAt: new Date() });
    expect(await stored(writer.sql)).not.toEqual(before);

    expect(await undo(writer.sql, await lastRun(writer.sql))).toMatchObject({
      identity: { removed: 0, restored: 1 },
      source: { removed: 1, restored: 2 },
    });

    expect(await stored(writer.sql)).toEqual(before);
    expect(await candidates(writer.sql)).toContain(DILATE);
  });

  test('a source alone that changed under a confirmed identity comes back, and the library is due', async () => {
    await writer.service([singleArtist(DILATE)]);
    const before = await writer.sources(DILATE);
    const changed = singleArtist(DILATE, { provenance: [leg('discogs', '12', { confidence: 0.98 })] });
    await writer.service([changed], { verifiedAt: new Date() });
    expect(await writer.sources(DILATE)).not.toEqual(before);

    await undo(writer.sql, await lastRun(writer.sql));

    expect(await writer.sources(DILATE)).toEqual(before);
    expect(await candidates(writer.sql)).toContain(DILATE);
  });

  test('its marks are lifted and its quarantine is closed, so that all of it is due', async () => {
    const verdicts = [unresolved(DILATE), compilation(VARIOUS), { ...singleArtist(ERASER), method: null }];
    const before = await candidates(writer.sql, { include_null_canonical: true });
    await writer.service(verdicts, { verifiedAt: new Date() });
    expect(await writer.attempts()).toHaveLength(3);

    expect(await undo(writer.sql, await lastRun(writer.sql))).toMatchObject({
      marks_lifted: 3,
      quarantine_closed: 1,
    });

    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
    expect(await candidates(writer.sql, { include_null_canonical: true })).toEqual(before);
  });
});

test('what a verdict only confirmed stays', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.service([singleArtist(DILATE), singleArtist(ERASER)], { verifiedAt: TUESDAY });

  expect(await undo(writer.sql, await lastRun(writer.sql))).toMatchObject({
    identity: { removed: 1, restored: 0 },
  });

  expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: TUESDAY });
});

test('a later run that only confirmed does not stand in the way', async () => {
  await writer.service([singleArtist(DILATE)]);
  const runId = await lastRun(writer.sql);
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

  expect(await undo(writer.sql, runId)).toMatchObject({ identity: { removed: 1 }, newer: 0 });
});

describe('a row that was changed since is left alone and counted', () => {
  test.each([
    ['the main row', `update wxyc_schema.library_identity set spotify_id = 'x' where library_id = ${DILATE}`],
    [
      'a column of another writer',
      `update wxyc_schema.library_identity set discogs_release_id = 7 where library_id = ${DILATE}`,
    ],
    [
      'a source row',
      `update wxyc_schema.library_identity_source set external_id = 'x' where library_id = ${DILATE} and source = 'spotify'`,
    ],
    ['a deleted row', `delete from wxyc_schema.library_identity where library_id = ${DILATE}`],
  ])('by somebody else: %s', async (_what, change) => {
    await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
    const runId = await lastRun(writer.sql);
    await writer.sql.unsafe(change);
    const [identity, sources] = [await writer.identity(DILATE), await writer.sources(DILATE)];

    expect(await undo(writer.sql, runId)).toMatchObject({ identity: { removed: 1 }, newer: 1, held: 0 });

    expect(await writer.identity(DILATE)).toEqual(identity);
    expect(await writer.sources(DILATE)).toEqual(sources);
    expect(await writer.identity(ERASER)).toBeUndefined();
  });

  test('by another writer, and confirmed by a later run', async () => {
    await writer.service([singleArtist(DILATE)]);
    const runId = await lastRun(writer.sql);
    await writer.sql`update wxyc_schema.library_identity set discogs_release_id = 7`;
    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect(await undo(writer.sql, runId)).toMatchObject({ newer: 1 });

    expect(await writer.identity(DILATE)).toMatchObject({ discogs_release_id: 7 });
  });

  test('by a later run', async () => {
    await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
    const runId = await lastRun(writer.sql);
    await writer.service([renamed(DILATE)], { verifiedAt: TUESDAY });
    const identity = await writer.identity(DILATE);

    expect(await undo(writer.sql, runId)).toMatchObject({ identity: { removed: 1 }, newer: 1 });

    expect(await writer.identity(DILATE)).toEqual(identity);
  });

  test('by hand: it is held, and counted as that', async () => {
    await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
    const runId = await lastRun(writer.sql);
    await writer.repair([singleArtist(DILATE)], { verifiedAt: TUESDAY });
    const identity = await writer.identity(DILATE);

    expect(await undo(writer.sql, runId)).toMatchObject({ identity: { removed: 1 }, newer: 0, held: 1 });

    expect(await writer.identity(DILATE)).toEqual(identity);
  });
});

describe('every call by hand is undone by its number', () => {
  test('a repair', async () => {
    await writer.service([singleArtist(DILATE)]);
    const before = await stored(writer.sql);
    await writer.repair([renamed(DILATE)], { verifiedAt: TUESDAY });

    expect(await undo(writer.sql, await lastRun(writer.sql))).toMatchObject({
      identity: { restored: 1 },
      held: 0,
    });

    expect(await stored(writer.sql)).toEqual(before);
  });

  test.each([false, true])('a release (of a row that another writer shares: %s)', async (isShared) => {
    await writer.service([singleArtist(DILATE)]);
    if (isShared) await writer.sql`update wxyc_schema.library_identity set discogs_release_id = 7`;
    const before = await stored(writer.sql);
    await writer.sql`select identity_sync.release_identity(${DILATE}, 'the wrong band')`;
    expect(await stored(writer.sql)).not.toEqual(before);

    await undo(writer.sql, await lastRun(writer.sql));

    expect(await stored(writer.sql)).toEqual(before);
  });

  test('a hold, of an identity and of a library without one', async () => {
    await writer.service([singleArtist(DILATE)]);
    const before = await stored(writer.sql);
    for (const id of [DILATE, ERASER]) {
      await writer.sql`select identity_sync.hold_identity(${id}, 'two acts of one name')`;
      await undo(writer.sql, await lastRun(writer.sql));
    }
    expect(await stored(writer.sql)).toEqual(before);
    expect(await candidates(writer.sql, { include_null_canonical: true })).toEqual(
      expect.arrayContaining([DILATE, ERASER]),
    );
  });

  test('an undo', async () => {
    await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)]);
    await writer.service([renamed(DILATE), singleArtist(ERASER)], { verifiedAt: TUESDAY });
    const runId = await lastRun(writer.sql);
    const before = await stored(writer.sql);
    const { run_id } = await undo(writer.sql, runId);
    expect(await stored(writer.sql)).not.toEqual(before);

    await undo(writer.sql, run_id as number);

    expect(await stored(writer.sql)).toEqual(before);
  });
});

describe('a record that was merged since takes nothing to the one that it was merged into', () => {
  /** As the backend merges: the history goes along, and what the loser was called by others stays behind. */
  const merge = (loser: number, survivor: number) =>
    writer.sql.unsafe(`
    update wxyc_schema.library_identity_history set library_id = ${survivor} where library_id = ${loser};
    delete from wxyc_schema.library_identity_source where library_id = ${loser};
    delete from wxyc_schema.library_identity where library_id = ${loser};
    delete from wxyc_schema.library where id = ${loser}`);

  beforeEach(() => writer.service([singleArtist(DILATE), singleArtist(ERASER)]));

  test('where the other was only confirmed', async () => {
    await writer.service([renamed(DILATE), singleArtist(ERASER)], { verifiedAt: TUESDAY });
    const runId = await lastRun(writer.sql);
    await merge(DILATE, ERASER);
    const before = await writer.identity(ERASER);

    expect(await undo(writer.sql, runId)).toMatchObject({ identity: { restored: 0, removed: 0 } });

    expect(await writer.identity(ERASER)).toEqual(before);
  });

  test('where the other changed as well, and becomes what it was itself', async () => {
    const eraser = await writer.identity(ERASER);
    await writer.service([renamed(DILATE), renamed(ERASER)], { verifiedAt: TUESDAY });
    const runId = await lastRun(writer.sql);
    await merge(DILATE, ERASER);

    expect(await undo(writer.sql, runId)).toMatchObject({ identity: { restored: 1, removed: 0 } });

    expect(await writer.identity(ERASER)).toEqual(eraser);
  });
});

test('undoing twice changes nothing, and counts nothing as newer', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.service([renamed(DILATE), singleArtist(ERASER)], { verifiedAt: TUESDAY });
  const runId = await lastRun(writer.sql);
  await undo(writer.sql, runId);
  const before = await writer.everything();

  expect(await undo(writer.sql, runId)).toMatchObject({
    identity: { removed: 0, restored: 0 },
    source: { removed: 0, restored: 0 },
    newer: 0,
    held: 0,
  });

  expect(await writer.everything()).toEqual(before);
});

test('only the ids that are named are undone, and the rest can be undone later', async () => {
  const before = await stored(writer.sql);
  await writer.service([singleArtist(DILATE), singleArtist(ERASER), unresolved(NEW_AMERYKAH)]);
  const runId = await lastRun(writer.sql);

  expect(await undo(writer.sql, runId, [DILATE])).toMatchObject({
    identity: { removed: 1 },
    marks_lifted: 0,
  });
  expect(await writer.identity(ERASER)).toBeDefined();

  expect(await undo(writer.sql, runId)).toMatchObject({
    identity: { removed: 1 },
    marks_lifted: 1,
    newer: 0,
  });
  expect(await stored(writer.sql)).toEqual(before);
});

test('an undo that is rolled back leaves nothing', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
  const runId = await lastRun(writer.sql);
  const before = await writer.everything();

  const rehearsed = writer.sql.begin(async (sql) => {
    await sql`select identity_sync.undo_identity_run(${runId})`;
    throw new Error('rehearsed');
  });
  await expect(rehearsed).rejects.toThrow('rehearsed');

  expect(await writer.everything()).toEqual(before);
  expect(await lastRun(writer.sql)).toBe(runId);
});

test('an undo is a run of its own, which names the run that it took back', async () => {
  await writer.service([singleArtist(DILATE)]);
  const { run_id, of_run_id } = await undo(writer.sql, await lastRun(writer.sql));

  const [progress] = await writer.sql`
    select scope, outcome, dry_run from identity_sync.run_progress where run_id = ${run_id as number}`;
  expect(progress).toEqual({ scope: 'undo', outcome: 'completed', dry_run: false });
  const [row] = await writer.sql`select identity_sync.identity_run_report(${run_id as number}) as report`;
  expect(row!.report).toMatchObject({ of_run_id, left: 0, scanned: 0 });
});

test('a run that is unknown, open or was dry is refused, and nothing changes', async () => {
  await expect(undo(writer.sql, NOWHERE)).rejects.toMatchObject({ code: 'LS002' });
  const [open] =
    await writer.sql`select identity_sync.plan_identity_run(scope => 'ids', ids => ${[DILATE]}) as id`;
  await expect(undo(writer.sql, open!.id)).rejects.toMatchObject({
    code: 'LS001',
    message: `run ${open!.id} is not over`,
  });
  const [dry] = await writer.sql`
    select identity_sync.plan_identity_run(scope => 'ids', ids => ${[NOWHERE]}, dry_run => true) as id`;
  await expect(undo(writer.sql, dry!.id)).rejects.toMatchObject({ code: 'LS001' });
  expect(await writer.history(DILATE)).toEqual([]);
});

test('the origin of the undo is its login, and its reason is kept beside the row', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
  await writer.repair([renamed(DILATE)], { origin: REPAIR, verifiedAt: TUESDAY });
  const { run_id } = await undo(writer.sql, await lastRun(writer.sql));

  const kept = await writer.history(DILATE);
  expect(kept.at(-1)).toMatchObject({
    superseded_reason: expect.stringContaining(`undone by run ${run_id}`),
    reason_category: 'undo',
    notes: REPAIR,
  });
  const settled =
    await writer.sql`select origin from identity_sync.settlement where run_id = ${run_id as number}`;
  expect(settled).toMatchObject([{ origin: expect.stringMatching(/^undo:/) }]);
});
