import { beforeAll, describe, expect, test } from 'vitest';
import { candidates, credit, shelve, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

// A shelf of records, each with what has come of asking for it so far.
const shelf = {
  neverAsked: { artist: 'Autechre' },
  fresh: { artist: 'Stereolab', resolved: '1 day' },
  stale: { artist: 'Juana Molina', resolved: '8 days' },
  inVain: { artist: 'Pedro the Lion', unresolved: '1 day' },
  localDemo: { artist: 'Accidental Heroes', canonical: false },
  localFresh: { artist: 'The Ivory Library', canonical: false, resolved: '1 day' },
  localStale: { artist: 'Sessa', canonical: false, resolved: '8 days' },
  soundtrack: { artist: 'Soundtracks - S', volumeLetters: 'Z' },
  soundtrackInVain: { artist: 'Soundtracks - T', volumeLetters: 'ZA', unresolved: '1 day' },
  hiphop: { artist: 'Various Artists - Hiphop', volumeLetters: 'Z', compilation: '1 day' },
  hiphopLongAgo: { artist: 'Various Artists - Hiphop', volumeLetters: 'Z', compilation: '31 days' },
  mislabelled: { artist: 'Epic Soundtracks', volumeLetters: 'Z', resolved: '1 day' },
  split: { artist: 'Duke Ellington & John Coltrane', credited: 'John Coltrane', unresolved: '1 day' },
  localSplit: { artist: 'Split 7"', credited: 'Superchunk', canonical: false, unresolved: '1 day' },
  refused: { artist: 'Various', volumeLetters: 'Z', invalid: '1 day' },
};
type Name = keyof typeof shelf;

const ids = {} as Record<Name, number>;

beforeAll(async () => {
  for (const [name, record] of Object.entries(shelf)) {
    const { credited, ...marks } = { credited: null, ...record };
    const id = await shelve(database.sql, record);
    ids[name as Name] = id;
    if (credited) await credit(database.sql, id, credited);
    for (const kind of ['resolved', 'unresolved', 'compilation', 'invalid'] as const) {
      const age = (marks as Partial<Record<string, string>>)[kind];
      if (!age) continue;
      await database.sql`
        select from identity_sync.apply_identity_verdicts(
          response => ${JSON.stringify([verdict[kind](id)])}::text::jsonb, requested => ${[id]},
          origin => 'consumer:lml-bulk', verified_at => clock_timestamp() - ${age}::interval)`;
    }
  }
});

test.each<[string, Record<string, unknown>, Name[]]>([
  ['due', {}, ['neverAsked', 'stale', 'localStale', 'soundtrack', 'hiphopLongAgo']],
  [
    'due, with rows that have no canonical entity',
    { include_null_canonical: true },
    ['neverAsked', 'stale', 'localDemo', 'localStale', 'soundtrack', 'hiphopLongAgo'],
  ],
  [
    'refresh: canonicalized or stale, however lately it was asked',
    { scope: 'refresh' },
    [
      'neverAsked',
      'fresh',
      'stale',
      'inVain',
      'localStale',
      'soundtrack',
      'soundtrackInVain',
      'hiphop',
      'hiphopLongAgo',
      'mislabelled',
      'split',
      'refused',
    ],
  ],
  [
    'recheck: compilation-shaped with an attempt, or a compilation, without regard to the retry window',
    { scope: 'recheck' },
    ['soundtrackInVain', 'hiphop', 'hiphopLongAgo', 'split', 'localSplit', 'refused'],
  ],
])('%s', async (_, parameters, expected) => {
  expect(await named(parameters)).toEqual(expected);
});

test('refresh takes an identity from the minute on at which it is stale', async () => {
  const aged = async (age: string) => {
    await database.sql`
      update wxyc_schema.library_identity set last_verified_at = clock_timestamp() - ${age}::interval
      where library_id = ${ids.localStale}`;
    return (await named({ scope: 'refresh' })).includes('localStale');
  };
  expect(await aged('7 days -1 minute')).toBe(false);
  expect(await aged('7 days')).toBe(true);
  await aged('8 days');
});

describe('ids', () => {
  test('asks for exactly the ids named, with or without an outcome, each once; unknown ones are no candidates', async () => {
    const wanted = [ids.fresh, ids.localDemo, ids.inVain, ids.fresh, null, 987654321];
    expect(await candidates(database.sql, { scope: 'ids', ids: wanted })).toEqual([
      ids.fresh,
      ids.inVain,
      ids.localDemo,
    ]);
  });

  test('asks for nothing where no id is named', async () => {
    expect(await candidates(database.sql, { scope: 'ids', ids: [] })).toEqual([]);
  });

  test('named beside another scope, narrow it', async () => {
    expect(await named({ scope: 'recheck', ids: [ids.hiphop, ids.fresh] })).toEqual(['hiphop']);
    expect(await named({ scope: 'due', ids: [ids.stale, ids.fresh] })).toEqual(['stale']);
  });
});

test('to ask for candidates writes nothing, and can be done in a read-only transaction', async () => {
  await database.sql.begin('read only', async (tx) => {
    expect(await candidates(tx)).not.toEqual([]);
  });
});

/** The names of the candidates, in the order of the shelf. */
async function named(parameters: Record<string, unknown>): Promise<string[]> {
  const found = await candidates(database.sql, parameters);
  return Object.keys(ids).filter((name) => found.includes(ids[name as Name]));
}
