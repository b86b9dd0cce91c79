// What people and dashboards read: the numbers of a handful of rows.
import type postgres from 'postgres';
import { afterEach, describe, expect, test } from 'vitest';
import { answerOf, claim, credit, plan, settle, shelve, shelveAll, verdict } from '../support/catalogue.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();

afterEach(
  () => database.sql`
    truncate wxyc_schema.library, wxyc_schema.artists, identity_sync.run, identity_sync.attempt,
      identity_sync.settlement, identity_sync.quarantined_verdict restart identity cascade`,
);

interface Identified {
  confidence?: number;
  method?: string;
}

/** Gives a record an identity, and a source row of the same confidence for each named source. */
async function identify(
  id: number,
  { confidence = 1, method = 'exact_match' }: Identified,
  ...sources: string[]
) {
  await database.sql`
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    values (${id}, ${method}, ${confidence}, now())`;
  for (const source of sources) {
    await database.sql`
      insert into wxyc_schema.library_identity_source (library_id, source, external_id, method, confidence, last_verified_at)
      values (${id}, ${source}, 'x', ${method}, ${confidence}, now())`;
  }
}

const everythingOf = async (sql: postgres.Sql, view: string) => [
  ...(await sql.unsafe(`select * from identity_sync.${view}`)),
];

describe('coverage', () => {
  test('counts library rows by source, method, band and cohort', async () => {
    const { sql } = database;
    const [one, another, lettered, credited] = await shelveAll(
      sql,
      'Cat Power',
      'Stereolab',
      { artist: 'Various', volumeLetters: 'ZB' },
      { artist: 'Bollywood Steel Guitar', volumeLetters: null },
    );
    await credit(sql, credited, 'Charanjit Singh');
    await identify(one, {}, 'discogs', 'spotify');
    await identify(another, {}, 'discogs');
    await identify(lettered, { method: 'trigram', confidence: 0.71 });
    await identify(credited, { method: 'trigram', confidence: 0.79 });

    const exact = { method: 'exact_match', confidence_band: '1.00', cohort: 'non_va' };
    expect(await everythingOf(sql, 'coverage')).toEqual([
      { source: 'composed', ...exact, libraries: '2' },
      { source: 'composed', method: 'trigram', confidence_band: '0.70 - 0.79', cohort: 'va', libraries: '2' },
      { source: 'discogs', ...exact, libraries: '2' },
      { source: 'spotify', ...exact, libraries: '1' },
    ]);
  });
});

describe('gate', () => {
  const at = (confidence: number, method = 'trigram'): Identified => ({ confidence, method });
  const none = null;

  // The records of one artist, and how many of them are resolved, resolved by the artist, and truly unresolved.
  test.each<[string, (Identified | null)[], number, number, number]>([
    ['a confidence of 0.70, as the column stores it, resolves', [at(0.7)], 1, 0, 0],
    ['less does not', [at(0.6999)], 0, 0, 1],
    ['neither does no identity', [none], 0, 0, 1],
    ['an inherited identity resolves its own row', [at(0.7, 'inherited')], 1, 0, 0],
    ['a row is resolved by another row of its artist', [at(0.7), none, at(0.2)], 1, 2, 0],
    ['not by an inherited one', [at(1, 'inherited'), none], 1, 0, 1],
    ['nor by one of less', [at(0.6999), none], 0, 0, 2],
  ])('%s', async (_rule, records, resolved, byArtist, trulyUnresolved) => {
    const { sql } = database;
    const ids = await Promise.all(records.map(() => shelve(sql, 'Cat Power')));
    await sql`update wxyc_schema.library set artist_id = (select min(artist_id) from wxyc_schema.library)`;
    for (const [index, record] of records.entries()) {
      if (record) await identify(ids[index]!, record);
    }
    // A neighbour by another artist resolves only itself.
    await identify(await shelve(sql, 'Stereolab'), {});

    expect(await everythingOf(sql, 'gate')).toMatchObject([
      {
        truly_unresolved: String(trulyUnresolved),
        allowed: 1000,
        is_complete: true,
        libraries: String(records.length + 1),
        resolved: String(resolved + 1),
        resolved_by_artist: String(byArtist),
      },
    ]);
  });

  test('opens below 1,000 rows truly unresolved', async () => {
    const { sql } = database;
    await sql`insert into wxyc_schema.artists (artist_name) select 'Artist ' || n from generate_series(1, 999) as n`;
    await sql`
      insert into wxyc_schema.library (artist_id, artist_name, album_title, legacy_release_id)
      select id, artist_name, 'Untitled', id from wxyc_schema.artists`;
    expect(await everythingOf(sql, 'gate')).toMatchObject([{ truly_unresolved: '999', is_complete: true }]);
    await shelve(sql, 'One too many');
    expect(await everythingOf(sql, 'gate')).toMatchObject([{ truly_unresolved: '1000', is_complete: false }]);
  });

  test('says beside it why a row keeps it closed, one cause a row', async () => {
    const { sql } = database;
    await sql`alter table wxyc_schema.library add column discogs_unavailable boolean`;
    const shelf: Record<string, [outcomes: (string | null)[], known?: Identified]> = {
      no_name: [['unresolved']],
      not_on_discogs: [['unresolved', null]],
      compilation: [['compilation', 'compilation']],
      unresolved: [['unresolved', 'unresolved', 'unresolved']],
      refused: [['invalid_verdict', 'writer_error', 'poison_input', 'poison_input']],
      never_asked: [[null, null, null, null, null]],
      other: [[null, 'manual_precedence'], at(0.5)],
    };
    for (const [cause, [outcomes, known]] of Object.entries(shelf)) {
      for (const outcome of outcomes) {
        const id = await shelve(sql, { artist: cause === 'no_name' ? ' ' : cause, volumeLetters: 'Z' });
        if (known) await identify(id, known);
        if (outcome)
          await sql`
            insert into identity_sync.attempt (library_id, outcome, attempted_at) values (${id}, ${outcome}, now())`;
        if (cause === 'not_on_discogs')
          await sql`update wxyc_schema.library set discogs_unavailable = true where id = ${id}`;
      }
    }
    const resolved = await shelve(sql, 'Stereolab');
    await identify(resolved, {});
    await sql`update wxyc_schema.library set discogs_unavailable = true where id = ${resolved}`;

    const counts = Object.entries(shelf).map(([cause, [outcomes]]) => [cause, String(outcomes.length)]);
    expect(await everythingOf(sql, 'gate')).toMatchObject([
      { truly_unresolved: '19', resolved: '1', ...Object.fromEntries(counts) },
    ]);
    await sql`alter table wxyc_schema.library drop column discogs_unavailable`;
    expect(await everythingOf(sql, 'gate')).toMatchObject([
      { truly_unresolved: '19', not_on_discogs: '0', unresolved: '4', never_asked: '6' },
    ]);
  });

  test('is open, with one row, where the library is empty', async () => {
    expect(await everythingOf(database.sql, 'gate')).toMatchObject([
      { truly_unresolved: '0', is_complete: true, libraries: '0' },
    ]);
  });
});

describe('homonyms', () => {
  test('shows the rows of two artists of one folded name that share an id, and no others', async () => {
    const { sql } = database;
    const [low, high, same, other, alone, twin] = await shelveAll(
      sql,
      'Nico',
      'NÍCO',
      'Nico',
      'nico',
      'Faust',
      'Cluster',
    );
    await sql`
      update wxyc_schema.library set artist_id = (select artist_id from wxyc_schema.library where id = ${low})
      where id = ${same}`;
    for (const id of [low, high, same, other, alone, twin]) await identify(id, {});
    const store = (id: number, columns: Record<string, unknown>) =>
      sql`update wxyc_schema.library_identity set ${sql(columns)} where library_id = ${id}`;
    await store(low, { discogs_artist_id: 7, spotify_id: 'a' });
    await store(high, { discogs_artist_id: 7, spotify_id: 'b', bandcamp_id: 'nico' });
    // Shared with a row of its own artist alone.
    await store(same, { spotify_id: 'a' });
    await store(other, { spotify_id: 'c', bandcamp_id: 'nico' });
    // Two artists of two names may well be one act.
    await store(alone, { discogs_artist_id: 7 });
    await store(twin, { discogs_artist_id: 7 });

    const shown = await everythingOf(sql, 'homonyms');
    expect(shown.map(({ name, library_id, shared_ids }) => ({ name, library_id, shared_ids }))).toEqual([
      { name: 'nico', library_id: low, shared_ids: { discogs_artist_id: '7' } },
      { name: 'nico', library_id: high, shared_ids: { discogs_artist_id: '7', bandcamp_id: 'nico' } },
      { name: 'nico', library_id: other, shared_ids: { bandcamp_id: 'nico' } },
    ]);
    expect(shown[1]).toMatchObject({ artist_name: 'NÍCO', album_title: 'Untitled' });
  });
});

describe('run_progress', () => {
  test('follows a run from its plan to its end, and shows the latest first', async () => {
    const { sql } = database;
    const ids = await shelveAll(sql, 'Cat Power', 'Stereolab', 'Sun Ra', 'Can', 'Faust');
    const run = await plan(sql, { batch_size: 2, opened_by: 'the cron' });
    const of = async (id: string) =>
      (await everythingOf(sql, 'run_progress')).find(({ run_id }) => run_id === id);
    const planned = {
      run_id: run,
      scope: 'due',
      dry_run: false,
      planned: 5,
      done: '0',
      batches: '3',
      batches_in_flight: '0',
      batches_failed: '0',
      batches_left: '3',
      finished_at: null,
      outcome: null,
      outcome_reason: null,
      opened_by: 'the cron',
    };
    expect(await of(run)).toMatchObject(planned);

    const first = await claim(sql, run);
    expect(await of(run)).toMatchObject({ ...planned, batches_in_flight: '1' });
    await settle(sql, first.batch_id, { body: answerOf(ids.slice(0, 2).map((id) => verdict.resolved(id))) });
    expect(await of(run)).toMatchObject({ ...planned, done: '2', batches_left: '2' });

    const second = await claim(sql, run);
    await sql`select identity_sync.fail_identity_batch(batch_id => ${second.batch_id}, failure => 'gone')`;
    const third = await claim(sql, run);
    await settle(sql, third.batch_id, { body: answerOf([verdict.resolved(ids[4])]) });
    const [{ started_at, finished_at }] = (await sql`select * from identity_sync.run`) as [
      { started_at: Date; finished_at: Date },
    ];
    expect(await of(run)).toMatchObject({
      ...planned,
      // What failed is due again.
      done: '3',
      batches_failed: '1',
      batches_left: '0',
      started_at,
      finished_at,
      outcome: 'failed',
      outcome_reason: '1 of its batches failed: gone',
    });
    const [took] = await sql`
      select took = finished_at - started_at as is_its_duration from identity_sync.run_progress`;
    expect(took).toEqual({ is_its_duration: true });

    const dryRun = await plan(sql, { dry_run: true });
    expect((await everythingOf(sql, 'run_progress')).map(({ run_id }) => run_id)).toEqual([dryRun, run]);
    expect(await of(dryRun)).toMatchObject({ dry_run: true, planned: 2 });
  });

  test('names the run first', async () => {
    await plan(database.sql);
    const [progress] = await everythingOf(database.sql, 'run_progress');
    expect(Object.keys(progress!)[0]).toBe('run_id');
  });
});

describe('quarantine', () => {
  test('shows what is still refused: one entry a library, the latest, with its run', async () => {
    const { sql } = database;
    const [power, lab, ra] = await shelveAll(sql, 'Cat Power', 'Stereolab', 'Sun Ra');
    const run = await plan(sql);
    const { batch_id } = await claim(sql, run);
    const refused = { ...verdict.resolved(power), confidence: 1.5 };
    await settle(sql, batch_id, { body: answerOf([refused, verdict.invalid(lab), verdict.resolved(ra)]) });

    const entry = async () =>
      (
        await sql`
        select library_id, run_id, outcome, path, value::text as value, verdict::jsonb as verdict, origin
        from identity_sync.quarantine order by library_id`
      ).map((row) => row);
    const confidence = {
      library_id: power,
      run_id: run,
      outcome: 'invalid_verdict',
      path: 'confidence',
      value: '1.5',
      verdict: refused,
      origin: 'consumer:lml-bulk',
    };
    expect(await entry()).toMatchObject([confidence, { library_id: lab, path: 'kind', value: '"hunch"' }]);

    const repaired = [verdict.invalid(power), verdict.resolved(lab)];
    await sql`select identity_sync.apply_identity_verdicts(${JSON.stringify(repaired)}::text::jsonb)`;
    expect(await entry()).toMatchObject([
      { library_id: power, run_id: expect.stringMatching(/^[0-9]+$/), path: 'kind', value: '"hunch"' },
    ]);

    await sql`select identity_sync.apply_identity_verdicts(${JSON.stringify(verdict.resolved(power))}::text::jsonb)`;
    expect(await entry()).toEqual([]);
  });
});
