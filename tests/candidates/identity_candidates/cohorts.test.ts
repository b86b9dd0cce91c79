// The cohorts sum to the whole, and so do partitions: no row falls out between them, even where columns are NULL.
import { describe, expect, test } from 'vitest';
import { call, candidates, credit, shelve, shelveRealRecords } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

type Candidate = { library_id: number; cohort: string };

describe('cohorts', () => {
  const database = useDatabase();

  test.each<[string, string | null, boolean, string]>([
    ['no volume letters', null, false, 'non_va'],
    ['empty volume letters', '', false, 'non_va'],
    ['the letter A', 'A', false, 'non_va'],
    ['a Z that is not the first', 'AZ', false, 'non_va'],
    ['a small z', 'z', false, 'non_va'],
    ['the letter Z', 'Z', false, 'va'],
    ['letters that begin with Z', 'ZAP', false, 'va'],
    ['a credit, no volume letters', null, true, 'va'],
    ['a credit and the letter A', 'A', true, 'va'],
    ['a credit and the letter Z', 'Z', true, 'va'],
  ])('%s', async (_, volumeLetters, credited, cohort) => {
    const id = await shelve(database.sql, { artist: 'Various Artists - Rock', volumeLetters });
    if (credited) {
      await credit(database.sql, id, 'Superchunk');
      await credit(database.sql, id, 'Archers of Loaf');
    }
    const parameters = { ids: [id] };
    expect(await call(database.sql, 'identity_candidates', parameters)).toEqual([{ library_id: id, cohort }]);
  });
});

describe('over real records', () => {
  const database = useDatabase();

  test('each is in exactly one cohort and in exactly one partition', async () => {
    const ids = await shelveRealRecords(database.sql, (_, index) => index >= 2600 && index < 3400);
    await database.sql`
      update wxyc_schema.library
      set code_volume_letters = (array[null, '', 'A', 'z', 'Z', 'ZB'])[1 + id % 6],
        canonical_entity_id = case when id % 5 <> 0 then 'artist:1' end`;
    await database.sql`
      insert into wxyc_schema.compilation_track_artist (library_id, artist_name)
      select id, 'Superchunk' from wxyc_schema.library where id % 7 = 0`;

    const all = await call<Candidate>(database.sql, 'identity_candidates', { include_null_canonical: true });
    expect(idsOf(all)).toEqual(ids);
    const shaped = (id: number) => id % 6 > 3 || id % 7 === 0;
    expect(idsOf(all.filter(({ cohort }) => cohort === 'va'))).toEqual(ids.filter(shaped));
    expect(idsOf(all.filter(({ cohort }) => cohort === 'non_va'))).toEqual(ids.filter((id) => !shaped(id)));

    for (const scope of ['due', 'refresh', 'ids']) {
      const parameters = { scope, ids: scope === 'ids' ? ids : null };
      const whole = await candidates(database.sql, parameters);
      const shares: number[] = [];
      for (let index = 0; index < 3; index++) {
        const share = await candidates(database.sql, {
          ...parameters,
          partition_index: index,
          partition_count: 3,
        });
        expect(share).toEqual(whole.filter((id) => id % 3 === index));
        shares.push(...share);
      }
      expect(shares.toSorted((one, other) => one - other)).toEqual(whole);
    }
  });

  test('the last of 1024 partitions holds what leaves 1023', async () => {
    const [last] = await candidates(database.sql, {
      scope: 'refresh',
      partition_index: 1023,
      partition_count: 1024,
      include_null_canonical: true,
    });
    expect(last! % 1024).toBe(1023);
  });
});

const idsOf = (rows: Candidate[]) => rows.map((row) => row.library_id).sort((one, other) => one - other);
