import { describe, expect, test } from 'vitest';
import {
  answer,
  counted,
  FORRO,
  LINKED,
  track,
  UNLINKED,
  useTracks,
  visited,
  YOUTH,
} from '../../support/tracks.js';
import {
  DILATE,
  type Fields,
  MONDAY,
  REPAIR,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
} from '../../support/writer.js';

const tracks = useTracks();

const FESTA = ['Gal Costa', 'Festa Do Interior'] as const;

/** Applies an answer as the service does, and returns what it was taken for. */
async function outcomeOf(response: unknown, requested: number[] = [FORRO]) {
  const report = await tracks.writer.apply(response, { requested, origin: SERVICE, verifiedAt: MONDAY });
  return {
    visited: report.rows_resolved_compilation,
    not: report.rows_skipped.compilation,
    counts: counted(report.compilation_track),
  };
}

describe('whether the matcher has visited a compilation is read off the pair', () => {
  test.each<[unknown, unknown, string]>([
    [null, null, 'not'],
    [undefined, undefined, 'not'],
    [null, [], 'not'],
    [false, [], 'not'],
    [false, null, 'not'],
    [true, [], 'visited'],
    [true, null, 'visited'],
    [true, [track(...FESTA)], 'visited'],
    [false, [track(...FESTA)], 'visited'],
    [null, [track(...FESTA)], 'visited'],
  ])('%j with %j: %s', async (tracks_attempted, entries, taken) => {
    const credit = await tracks.credit(FORRO, ...FESTA);
    const entered = Array.isArray(entries) ? entries.length : 0;
    expect(await outcomeOf(answer([visited(FORRO, [], { tracks_attempted, tracks: entries })]))).toEqual({
      visited: taken === 'visited' ? 1 : 0,
      not: taken === 'not' ? 1 : 0,
      counts: entered > 0 ? { written: 1, no_catalog_artist: 1 } : {},
    });
    expect(await tracks.link(credit)).toEqual(entered > 0 ? { ...LINKED, track_artist_id: null } : UNLINKED);
    expect(await tracks.writer.attempts()).toMatchObject([{ library_id: FORRO, outcome: 'compilation' }]);
  });
});

describe('only under version 1 exactly', () => {
  const said = visited(FORRO, [track(...FESTA)]);

  test.each([
    [1, 'visited'],
    [null, 'not'],
    [undefined, 'not'],
    [0, 'not'],
    [2, 'not'],
    [1.1, 'not'],
    ['1', 'not'],
    [true, 'not'],
    [[1], 'not'],
    [{ version: 1 }, 'not'],
  ])('%j: %s', async (version, taken) => {
    const credit = await tracks.credit(FORRO, ...FESTA);
    const { results } = answer([said]);
    expect(await outcomeOf({ results, tracks_contract_version: version })).toMatchObject({
      visited: taken === 'visited' ? 1 : 0,
      not: taken === 'not' ? 1 : 0,
    });
    expect(await tracks.link(credit)).toMatchObject(taken === 'visited' ? LINKED : UNLINKED);
  });

  test.each<[string, unknown]>([
    ['an array of results', [said]],
    ['one result', said],
    ['one result that claims a version', { ...said, tracks_contract_version: 1 }],
  ])('%s carries none', async (_what, response) => {
    const credit = await tracks.credit(FORRO, ...FESTA);
    expect(await outcomeOf(response)).toEqual({ visited: 0, not: 1, counts: {} });
    expect(await tracks.link(credit)).toEqual(UNLINKED);
  });

  test('the text of a whole answer carries it, also by hand, and also where other results are unreadable', async () => {
    const credit = await tracks.credit(FORRO, ...FESTA);
    const body = JSON.stringify(answer([unresolved(DILATE, { kind: 'hunch\u0000' }), said]));
    const report = await tracks.writer.applyText(body, { requested: null, origin: REPAIR });
    expect(report).toMatchObject({ rows_resolved_compilation: 1, rows_skipped: { invalid_verdict: 1 } });
    expect(await tracks.link(credit)).toMatchObject({ ...LINKED, track_artist_link_method: 'librarian' });
  });
});

test.each<[string, (id: number, tracked: Fields) => Fields]>([
  ['a single artist', (id, tracked) => singleArtist(id, tracked)],
  ['an unresolved record', (id, tracked) => unresolved(id, tracked)],
])('tracks of %s are left alone', async (_kind, verdict) => {
  const credit = await tracks.credit(FORRO, ...FESTA);
  const tracked = { tracks_attempted: true, tracks: [track(...FESTA)] };
  expect(await outcomeOf(answer([verdict(FORRO, tracked)]))).toEqual({ visited: 0, not: 0, counts: {} });
  expect(await tracks.link(credit)).toEqual(UNLINKED);
});

test('a compilation is one by its kind, not by its shelf: the record needs neither letters nor credits', async () => {
  expect(await outcomeOf(answer([visited(DILATE, [track(...FESTA)])]), [DILATE])).toEqual({
    visited: 1,
    not: 0,
    counts: { no_cta_match: 1 },
  });
});

test('a compilation over an identity leaves the identity', async () => {
  await tracks.writer.service([singleArtist(FORRO)], { verifiedAt: MONDAY });
  const before = await tracks.writer.identity(FORRO);
  await tracks.credit(FORRO, ...FESTA);
  expect(await tracks.apply(FORRO, [track(...FESTA)], { verifiedAt: TUESDAY })).toMatchObject({ written: 1 });
  expect(await tracks.writer.identity(FORRO)).toEqual(before);
});

describe('a compilation whose tracks were visited', () => {
  /** The ids that a run of the scope would ask for, with these parameters. */
  async function due(scope: string, unresolved_retry_days = 30): Promise<number[]> {
    const rows = await tracks.sql<{ library_id: number }[]>`
      select library_id from identity_sync.identity_candidates(
        scope => ${scope}, unresolved_retry_days => ${unresolved_retry_days})
      order by library_id`;
    return rows.map((row) => row.library_id);
  }

  test('is asked again after its retry window, or on a recheck', async () => {
    await tracks.credit(FORRO, ...FESTA);
    expect(await due('due')).toContain(FORRO);
    expect(await due('recheck')).not.toContain(FORRO);
    await tracks.writer.apply(answer([visited(FORRO, [track(...FESTA)])]), {
      requested: [FORRO],
      origin: SERVICE,
    });
    expect(await due('due')).not.toContain(FORRO);
    expect(await due('due', 0)).toContain(FORRO);
    expect(await due('recheck')).toEqual([FORRO]);
  });

  test('closes what is in quarantine for it', async () => {
    await tracks.writer.apply(answer([visited(FORRO, [], { tracks: 5 })]), {
      requested: [FORRO],
      origin: SERVICE,
      verifiedAt: MONDAY,
    });
    expect(await tracks.writer.quarantine()).toHaveLength(1);
    await tracks.apply(FORRO, [], { verifiedAt: TUESDAY });
    expect(await tracks.writer.quarantine()).toEqual([]);
  });

  test('adds up in the report, beside its neighbours of every kind', async () => {
    await tracks.credit(FORRO, ...FESTA);
    const report = await tracks.writer.apply(
      answer([
        singleArtist(DILATE),
        visited(FORRO, [track(...FESTA)]),
        visited(YOUTH, [], { tracks_attempted: false }),
      ]),
      { requested: [DILATE, FORRO, YOUTH, 512], origin: SERVICE },
    );
    expect(report).toMatchObject({
      scanned: 4,
      rows_resolved: 1,
      rows_resolved_compilation: 1,
      rows_skipped: { compilation: 1, lml_cardinality_mismatch: 1 },
      identity: { inserted: 1 },
      compilation_track: { written: 1 },
    });
  });
});
