import { describe, expect, test } from 'vitest';
import { answer, FORRO, missed, track, useTracks, visited } from '../../support/tracks.js';
import { type Fields, SERVICE, Verbatim } from '../../support/writer.js';

const tracks = useTracks();

const QUERUBIM = ['Dominguinhos', 'Querubim'] as const;

const named = { resolved_artist_name: 'Dominguinhos' };

const good = track('Gal Costa', 'Festa Do Interior');

describe('an unusable entry costs itself alone, and is counted', () => {
  test.each<[string, unknown]>([
    ['null', null],
    ['a number', 5],
    ['a text', 'Querubim'],
    ['an array', ['Dominguinhos', 'Querubim']],
    ['an empty object', {}],
    ['no credit', track(null, 'Querubim', named)],
    ['an empty credit', track('', 'Querubim', named)],
    ['a blank credit', track(' \t\n', 'Querubim', named)],
    ['a credit that is a number', track(5, 'Querubim', named)],
    ['a credit that is an object', track({}, 'Querubim', named)],
    ['a credit that is an array', track(['Dominguinhos'], 'Querubim', named)],
    ['a credit of 256 characters', track('Ö'.repeat(256), 'Querubim', named)],
    ['a title that is a number', track('Dominguinhos', 5)],
    ['a title that is false', track('Dominguinhos', false)],
    ['a title of 256 characters', track('Dominguinhos', '繭'.repeat(256))],
    ['a name that is a number', track(...QUERUBIM, { resolved_artist_name: 5 })],
    ['a name that is an array', track(...QUERUBIM, { resolved_artist_name: [] })],
    ['a name of 256 characters', track(...QUERUBIM, { resolved_artist_name: 'Ö'.repeat(256) })],
    ['a position that is a number', track(...QUERUBIM, { track_position: 5 })],
    ['a position that is an object', track(...QUERUBIM, { track_position: {} })],
    ['a confidence that is a text', track(...QUERUBIM, { confidence: '1' })],
    ['a confidence that is true', track(...QUERUBIM, { confidence: true })],
    ['a confidence that is an array', track(...QUERUBIM, { confidence: [1] })],
  ])('%s', async (_what, entry) => {
    await tracks.credit(FORRO, ...QUERUBIM);
    await tracks.credit(FORRO, 'Gal Costa', 'Festa Do Interior');
    expect(await tracks.apply(FORRO, [entry, good])).toEqual({
      unusable: 1,
      written: 1,
      no_catalog_artist: 1,
    });
    expect(await tracks.writer.attempts()).toMatchObject([{ library_id: FORRO, outcome: 'compilation' }]);
    expect(await tracks.writer.quarantine()).toEqual([]);
  });

  test.each(['1e-400', '1e400', '-1e400', '0.1e-99'])('a confidence of %s is a number', async (text) => {
    await tracks.credit(FORRO, ...QUERUBIM);
    expect(await tracks.apply(FORRO, [track(...QUERUBIM, { confidence: new Verbatim(text) })])).toMatchObject(
      {
        written: 1,
      },
    );
  });

  test('what is not stored may be anything', async () => {
    await tracks.credit(FORRO, ...QUERUBIM);
    await tracks.credit(FORRO, 'Gal Costa', 'Festa Do Interior');
    const said = [
      track(...QUERUBIM, { method: 5, sources: 'none', duration: '3:04' }),
      missed('Gal Costa', 'Festa Do Interior', { method: [], sources: null }),
    ];
    expect(await tracks.apply(FORRO, said)).toMatchObject({ written: 1, no_resolved_name: 1 });
  });
});

test.each<[string, string, Fields]>([
  ['tracks', 'tracks', { tracks: 'none' }],
  ['tracks', 'tracks', { tracks: {} }],
  ['tracks_attempted', 'tracks_attempted', { tracks_attempted: 'true' }],
  ['tracks_attempted', 'tracks_attempted', { tracks_attempted: 1 }],
])('a verdict whose %s has the wrong type is refused whole: %s %j', async (_what, path, changes) => {
  await tracks.credit(FORRO, 'Gal Costa', 'Festa Do Interior');
  const before = await tracks.writer.everything();
  const report = await tracks.writer.apply(answer([visited(FORRO, [good], changes)]), {
    requested: [FORRO],
    origin: SERVICE,
  });
  expect(report).toMatchObject({ rows_resolved_compilation: 0, rows_skipped: { invalid_verdict: 1 } });
  expect(await tracks.writer.quarantine()).toMatchObject([
    { library_id: FORRO, outcome: 'invalid_verdict', path },
  ]);
  expect(await tracks.writer.everything()).toEqual(before);
});

test('text that PostgreSQL cannot store costs its compilation, and no other', async () => {
  await tracks.credit(FORRO, 'Gal Costa', 'Festa Do Interior');
  const other = await tracks.credit(61003, 'محمد الحلو', 'ويانا');
  const body = JSON.stringify(
    answer([
      visited(FORRO, [good, track('Gal\u0000', 'Festa')]),
      visited(61003, [track('محمد الحلو', 'ويانا')]),
    ]),
  );
  const report = await tracks.writer.applyText(body, { requested: [FORRO, 61003], origin: SERVICE });
  expect(report).toMatchObject({ rows_resolved_compilation: 1, rows_skipped: { invalid_verdict: 1 } });
  expect(await tracks.writer.quarantine()).toMatchObject([
    { library_id: FORRO, path: 'tracks[1].artist_name' },
  ]);
  expect(await tracks.link(other)).toMatchObject({ track_artist_link_method: 'lml_backfill' });
});
