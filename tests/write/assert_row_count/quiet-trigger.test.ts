// A trigger may drop what is written without a word: a statement that touches fewer rows than it means is taken back.
import { expect, test } from 'vitest';
import { DILATE, ERASER, reported, singleArtist, useWriter, withMain } from '../../support/writer.js';

const writer = useWriter();

test.each(['library_identity', 'library_identity_source'])(
  'a trigger that quietly drops what is written to %s refuses the whole verdict, too',
  async (table) => {
    await writer.sql.unsafe(`
      create function station.drop_quietly() returns trigger language plpgsql as $$
      begin
        return case when new.library_id <> ${DILATE} then new end;
      end $$;
      create trigger drop_quietly before insert on wxyc_schema.${table}
      for each row execute function station.drop_quietly();`);

    const report = await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        rows_skipped: { writer_error: 1 },
        identity: { inserted: 1 },
        source: { inserted: 2 },
      }),
    );
    expect(await writer.identity(DILATE)).toBeUndefined();
    expect(await writer.sources(DILATE)).toEqual({});
  },
);

test('a trigger that quietly drops history refuses the verdict that would have made it', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.sql.unsafe(`
    create function station.drop_quietly() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger drop_quietly before insert on wxyc_schema.library_identity_history
    for each row execute function station.drop_quietly();`);

  const report = await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id: 5 })]);

  expect(report).toEqual(reported({ rows_skipped: { writer_error: 1 } }));
  expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 11442 });
});
