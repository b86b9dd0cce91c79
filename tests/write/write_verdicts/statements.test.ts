// Other services watch these tables with triggers that fire for a statement, whether or not it changes a row. So where
// nothing changes no statement may be issued.
import { beforeEach, describe, expect, test } from 'vitest';
import { watchStatements } from '../../support/statements.js';
import {
  compilation,
  DILATE,
  ERASER,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

let statements: () => Promise<string[]>;

describe('the statements of a verdict', () => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE)]);
    statements = await watchStatements(writer.sql);
  });

  test('that is new are two insertions', async () => {
    await writer.service([singleArtist(ERASER)]);
    expect(await statements()).toEqual(['library_identity INSERT', 'library_identity_source INSERT']);
  });

  test('that is new and names no source are one insertion', async () => {
    await writer.service([singleArtist(ERASER, { provenance: [] })]);
    expect(await statements()).toEqual(['library_identity INSERT']);
  });

  test('that is the same are one update, of the time alone', async () => {
    const others = ['discogs_artist_id', 'spotify_id', 'method', 'confidence', 'notes', 'agreement_sources'];
    await writer.sql.unsafe(`
      drop trigger notice on wxyc_schema.library_identity;
      create trigger notice_time after insert or update of last_verified_at or delete on wxyc_schema.library_identity
      for each statement execute function station.notice();
      create trigger notice_other after update of ${others} on wxyc_schema.library_identity
      for each statement execute function station.notice();`);

    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect(await statements()).toEqual(['library_identity UPDATE']);
  });

  test('that is the same, of the same time, are none', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
    expect(await statements()).toEqual([]);
  });

  test('that changes the main row alone do not touch its sources', async () => {
    await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id: 5 })], { verifiedAt: TUESDAY });
    expect(await statements()).toEqual(['library_identity_history INSERT', 'library_identity UPDATE']);
  });

  test.each([
    [
      'changes',
      [
        leg('discogs', '5'),
        leg('spotify', '0AiTwNtYX8m4uhfU7rJ8RD', { method: 'name_variation', confidence: 0.95 }),
      ],
      ['UPDATE'],
    ],
    ['removes', [leg('discogs', '11442')], ['DELETE']],
    ['replaces', [leg('discogs', '11442'), leg('bandcamp', 'ani')], ['DELETE', 'INSERT']],
  ])('that %s a source alone make no history', async (_, provenance, kinds) => {
    await writer.service([singleArtist(DILATE, { provenance })], { verifiedAt: TUESDAY });
    expect(await statements()).toEqual([
      'library_identity UPDATE',
      ...kinds.map((kind) => `library_identity_source ${kind}`),
    ]);
  });

  test('that is not written are none', async () => {
    await writer.sql`update wxyc_schema.library_identity set notes = 'repair:somebody'`;
    await writer.sql`truncate station.statement`;
    const verdicts = [
      singleArtist(DILATE),
      singleArtist(ERASER, { kind: 'artist' }),
      unresolved(NEW_AMERYKAH),
      compilation(VARIOUS),
      singleArtist(SANGOMA),
    ];

    await writer.service(verdicts, {
      requested: [DILATE, ERASER, NEW_AMERYKAH, VARIOUS, 1],
      verifiedAt: TUESDAY,
    });

    expect(await statements()).toEqual([]);
  });

  test('are as many for many verdicts as for one', async () => {
    const verdicts = [
      singleArtist(ERASER),
      singleArtist(NEW_AMERYKAH),
      singleArtist(SANGOMA),
      singleArtist(DILATE),
    ];
    await writer.service(verdicts, { verifiedAt: TUESDAY });
    expect(await statements()).toEqual([
      'library_identity INSERT',
      'library_identity UPDATE',
      'library_identity_source INSERT',
    ]);
  });
});

test('the library, the artists and the tracks are never written', async () => {
  await writer.sql.unsafe(`
    create function station.describe_refusal() returns trigger language plpgsql as $$
    begin
      raise '% is not to be written', tg_table_name;
    end $$;
    ${['library', 'artists', 'compilation_track_artist']
      .map(
        (table) => `
          create trigger refuse before insert or update or delete or truncate on wxyc_schema.${table}
          for each statement execute function station.describe_refusal();`,
      )
      .join('')}`);
  const verdicts = [
    singleArtist(DILATE),
    unresolved(ERASER),
    compilation(VARIOUS),
    singleArtist(NEW_AMERYKAH, { kind: 'artist' }),
    singleArtist(1),
  ];

  await writer.service(verdicts);
  await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id: 5 })], { verifiedAt: TUESDAY });
  const report = await writer.repair([singleArtist(DILATE), singleArtist(ERASER, { provenance: [] })]);

  expect(report).toMatchObject({ scanned: 2, rows_resolved: 2 });
});
