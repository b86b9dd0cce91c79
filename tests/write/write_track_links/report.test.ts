import { describe, expect, test } from 'vitest';
import fc from '../../support/fast-check.js';
import {
  answer,
  counted,
  FORRO,
  LINKED,
  missed,
  track,
  useTracks,
  visited,
  YOUTH,
} from '../../support/tracks.js';
import { type Fields, SERVICE } from '../../support/writer.js';

const tracks = useTracks();

const ROWS = ['written', 'unlinked', 'unchanged', 'librarian'];
const ENTRIES = ['no_cta_match', 'no_resolved_name', 'unusable'];

test('every key and every unusable entry is counted once, in any answer', async () => {
  const title = fc.constantFrom('Querubim', 'Asa Branca', 'Tum-Tum-Tum', '', null);
  const artist = fc.constantFrom('Dominguinhos', 'Gal Costa', 'Luiz Gonzaga', 'Nobody');
  const entry = fc.oneof(
    {
      weight: 9,
      arbitrary: fc.tuple(
        artist,
        title,
        fc.constantFrom(null, 0.5, 0.9, 7),
        fc.constantFrom(null, '1', '2'),
        fc.boolean(),
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom(null, 5, 'x') },
  );
  for (const name of ['Dominguinhos', 'Gal Costa', 'GAL COSTA']) await tracks.artist(name);
  const methods = [null, 'lml_backfill', 'librarian', 'exact_name'];
  let number = 0;
  for (const name of ['Dominguinhos', 'Gal Costa', 'Luiz Gonzaga']) {
    for (const words of ['Querubim', 'Asa Branca', '', null]) {
      await tracks.credit(FORRO, name, words, { track_artist_link_method: methods[number++ % 4] });
    }
  }

  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
      const said = entries.map((one) => {
        if (!Array.isArray(one)) return one;
        const [name, words, confidence, track_position, isMissed] = one;
        return (isMissed ? missed : track)(name, words, isMissed ? {} : { confidence, track_position });
      });
      const keys = new Set(
        entries.flatMap((one) => (Array.isArray(one) ? JSON.stringify(one.slice(0, 2)) : [])),
      );
      const unusable = entries.filter((one) => !Array.isArray(one)).length;
      const counts = await tracks.apply(FORRO, said);
      const sum = (names: string[]) =>
        names.reduce((total, name) => total + ((counts[name] as number | undefined) ?? 0), 0);
      expect(sum([...ROWS, ...ENTRIES])).toBe(keys.size + unusable);
      expect(counts.unusable ?? 0).toBe(unusable);
      expect(sum(['position_written'])).toBeLessThanOrEqual(sum(['written']));
      const again = await tracks.apply(FORRO, said);
      expect([again.written, again.unlinked, again.position_written]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
    }),
    { numRuns: 60 },
  );
});

describe('a run', () => {
  /** Runs two compilations in batches of their own, answering what is given, and returns the report. */
  async function run(
    answers: Record<number, Fields>,
    dryRun = false,
  ): Promise<Fields & { warnings: string[] }> {
    const ids = Object.keys(answers).map(Number);
    const { sql } = tracks;
    const [{ run_id }] = await sql<[{ run_id: string }]>`
      select plan_identity_run as run_id from identity_sync.plan_identity_run(
        scope => 'ids', ids => ${ids}, va_batch_size => 1, dry_run => ${dryRun})`;
    const batches = await sql<{ batch_id: string; library_id: number }[]>`
      select batch_id, library_ids[1] as library_id from identity_sync.batch where run_id = ${run_id}`;
    for (const { batch_id, library_id } of batches) {
      const body = JSON.stringify(answers[library_id]);
      await sql`select identity_sync_private.apply_identity_batch(${batch_id}, ${body}::text::jsonb, ${body})`;
    }
    await sql`select identity_sync_private.close_identity_run(${run_id})`;
    const [{ report }] = await sql<[{ report: Fields & { warnings: string[] } }]>`
      select report from identity_sync.identity_run_report(${run_id}) as report`;
    return report;
  }

  const matched = (count: number) =>
    Array.from({ length: count }, (_, index) => track('Gal Costa', `Song ${index}`));
  const drifted = (count: number) =>
    Array.from({ length: count }, (_, index) => track('Gal Costa', `Song No. ${index}`));

  async function creditSongs(library_id: number) {
    for (let index = 0; index < 12; index++) await tracks.credit(library_id, 'Gal Costa', `Song ${index}`);
  }

  test('sums the tracks of its batches, and has no warning where they match', async () => {
    await creditSongs(FORRO);
    await creditSongs(YOUTH);
    const report = await run({
      [FORRO]: answer([visited(FORRO, matched(12))]),
      [YOUTH]: answer([visited(YOUTH, [...matched(5), ...drifted(2)])]),
    });
    expect(counted(report.compilation_track as object)).toEqual({
      written: 17,
      no_cta_match: 2,
      no_catalog_artist: 17,
    });
    expect(report).toMatchObject({ rows_resolved_compilation: 2, warnings: [] });
  });

  test.each([
    ['ten entries of nineteen match no credit', 9, 10, true],
    ['ten of twenty do', 10, 10, false],
    ['nine of nine do', 0, 9, false],
  ])('warns, or does not, where %s', async (_what, matching, drifting, warns) => {
    await creditSongs(FORRO);
    await creditSongs(YOUTH);
    const { warnings } = await run({
      [FORRO]: answer([visited(FORRO, [...matched(matching), ...drifted(drifting)])]),
      [YOUTH]: answer([visited(YOUTH, matched(12))]),
    });
    expect(warnings).toEqual(
      warns
        ? [
            'batches whose track entries mostly match no credit of compilation_track_artist: 1 (10 of 19 entries); artist_name and track_title have drifted apart',
          ]
        : [],
    );
  });

  test('warns in a dry run too, which writes nothing', async () => {
    await creditSongs(FORRO);
    const report = await run({ [FORRO]: answer([visited(FORRO, drifted(12))]) }, true);
    expect(report.warnings).toHaveLength(1);
    expect(report).toMatchObject({ dry_run: true, compilation_track: { no_cta_match: 12 } });
  });

  test('has the preview of its tracks applied as it was', async () => {
    await creditSongs(FORRO);
    const report = await run({ [FORRO]: answer([visited(FORRO, matched(12))]) }, true);
    const before =
      await tracks.sql`select count(*)::integer as linked from wxyc_schema.compilation_track_artist
      where track_artist_link_method is not null`;
    expect(before[0]!.linked).toBe(0);
    const [{ applied }] = await tracks.sql<[{ applied: object }]>`
      select applied from identity_sync.apply_identity_preview(${report.run_id as number}) as applied`;
    expect(applied).toMatchObject({ rows_resolved_compilation: 1, compilation_track: { written: 12 } });
  });
});

test('what changed is shown old beside new, track by track', async () => {
  const id = await tracks.artist('Anastácia');
  const linked = await tracks.credit(FORRO, 'Anastácia', 'O Succeso Da Zefinha', {
    ...LINKED,
    track_artist_id: id,
  });
  const fresh = await tracks.credit(FORRO, 'Anastácia', 'Querubim');
  await tracks.credit(YOUTH, 'Anastácia', 'Querubim');
  const said = JSON.stringify(
    answer([
      visited(FORRO, [
        missed('Anastácia', 'O Succeso Da Zefinha'),
        track('Anastácia', 'Querubim', { track_position: '5' }),
      ]),
    ]),
  );
  const state = async () => {
    const [row] = await tracks.sql<[{ state: object }]>`
      select identity_sync.identity_snapshot(${said}::text::jsonb) as state`;
    return row.state;
  };
  const before = await state();
  await tracks.writer.apply(JSON.parse(said), { requested: [FORRO], origin: SERVICE });
  const changes = await tracks.sql`
    select library_id, stored_row, column_name, old_value, new_value
    from identity_sync.diff_snapshots(${JSON.stringify(before)}::text::jsonb, ${JSON.stringify(await state())}::text::jsonb)`;
  const change = (credit: number, column: string, old_value: string | null, new_value: string | null) => ({
    library_id: FORRO,
    stored_row: `track ${credit}`,
    column_name: column,
    old_value,
    new_value,
  });
  expect([...changes]).toEqual([
    change(linked, 'track_artist_id', String(id), null),
    change(linked, 'track_artist_link_confidence', '1', null),
    change(linked, 'track_artist_link_method', 'lml_backfill', null),
    change(fresh, 'track_artist_id', null, String(id)),
    change(fresh, 'track_artist_link_confidence', null, '1'),
    change(fresh, 'track_artist_link_method', null, 'lml_backfill'),
    change(fresh, 'track_position', null, '5'),
  ]);
});
