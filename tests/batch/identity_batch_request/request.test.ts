import { describe, expect, test } from 'vitest';
import { call, plan, shelve, shelveRealRecords } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('is what the wire asks for, with the fields of each row in the order of their ids', async () => {
  const autechre = await shelve(database.sql, { artist: 'Autechre', title: 'Confield' });
  const stereolab = await shelve(database.sql, { artist: 'Stereolab', title: 'Aluminum Tunes' });

  expect(JSON.parse((await requestFor([stereolab, autechre]))!)).toEqual({
    inputs: [
      {
        library_id: autechre,
        artist_name: 'Autechre',
        album_title: 'Confield',
        legacy_release_id: await legacyReleaseId(autechre),
      },
      {
        library_id: stereolab,
        artist_name: 'Stereolab',
        album_title: 'Aluminum Tunes',
        legacy_release_id: await legacyReleaseId(stereolab),
      },
    ],
    include_tracks: true,
  });
});

test('speaks of the rows as they are now, not as they were planned', async () => {
  const id = await shelve(database.sql, { artist: 'Steroelab', title: 'Dots and Loops' });
  const batchId = await batchOf([id]);
  await database.sql`update wxyc_schema.library set artist_name = 'Stereolab' where id = ${id}`;

  expect(inputsOf(await request(batchId))).toMatchObject([{ library_id: id, artist_name: 'Stereolab' }]);
});

describe('rows that cannot be requested any more', () => {
  const gone = (id: number) => database.sql`delete from wxyc_schema.library where id = ${id}`;
  const renamed = (name: string | null) => (id: number) =>
    database.sql`update wxyc_schema.library set artist_name = ${name} where id = ${id}`;

  test.each<[string, (id: number) => Promise<unknown>]>([
    ['gone', gone],
    ['without a name', renamed(null)],
    ['with an empty name', renamed('')],
    ['with a blank name', renamed(' \t')],
    ['with a name of non-breaking spaces', renamed('\u00a0')],
  ])('are left out: %s; with none left there is no request', async (_, change) => {
    const id = await shelve(database.sql, 'Cat Power');
    const other = await shelve(database.sql, 'Jessica Pratt');
    const batchId = await batchOf([id, other]);

    await change(id);
    expect(inputsOf(await request(batchId))).toMatchObject([{ library_id: other }]);
    await change(other);
    expect(await request(batchId)).toBeNull();
  });
});

test('a title may be empty: LML refuses a missing one only', async () => {
  const id = await shelve(database.sql, { artist: 'Sessa', title: '' });
  expect(inputsOf(await requestFor([id]))).toMatchObject([{ album_title: '' }]);
});

describe('from the real catalogue', () => {
  const station = useDatabase();

  test('carries every name and title unharmed: quotes, backslashes, tabs, what MacRoman left behind', async () => {
    const ids = await shelveRealRecords(station.sql, (line) => /["\\\u0080-\uffff]/.test(line));
    await station.sql`update wxyc_schema.library set artist_name = 'Group Doueh' where artist_name = ''`;
    const rows = await station.sql`
      select id as library_id, artist_name, album_title, legacy_release_id from wxyc_schema.library`;
    expect(rows.length).toBeGreaterThan(5000);

    const runId = await plan(station.sql, { include_null_canonical: true });
    const requests = await station.sql<{ body: string }[]>`
      select identity_sync.identity_batch_request(batch_id) as body from identity_sync.batch
      where run_id = ${runId}`;

    const sent = new Map(
      requests.flatMap(({ body }) => inputsOf(body)).map((input) => [input.library_id, input]),
    );
    for (const row of rows) expect(sent.get(row.library_id)).toEqual({ ...row });
    expect(sent.size).toBe(ids.length);
  });
});

test('carries any other character that PostgreSQL keeps', async () => {
  const artist =
    '🎛️ "Björk" \\ \u0001\u001f\u007f\u0085\u2028\ufeff Сӧстӧм 椎名林檎 é/e\u0301 \\u0000 </script>';
  const id = await shelve(database.sql, { artist, title: '\r\n\t"\\"' });
  expect(inputsOf(await requestFor([id]))).toMatchObject([
    { artist_name: artist, album_title: '\r\n\t"\\"' },
  ]);
});

test('can be made again and again, of a closed batch too, and changes nothing', async () => {
  const batchId = await batchOf([await shelve(database.sql, 'Chuquimamani-Condori')]);
  const state = () => database.sql`select * from identity_sync.batch where batch_id = ${batchId}`;
  const [before, first] = [await state(), await request(batchId)];
  expect(await request(batchId)).toBe(first);
  expect(await state()).toEqual(before);

  await call(database.sql, 'fail_identity_batch', { batch_id: batchId, failure: 'LML answered 500' });
  expect(await request(batchId)).toBe(first);
});

test.each([
  ['987654321', 'there is no batch 987654321'],
  [null, 'there is no batch NULL'],
])('of batch %s is an error that names it', async (batchId, message) => {
  await expect(request(batchId)).rejects.toMatchObject({ code: 'LS002', message });
});

async function request(batchId: string | null): Promise<string | null> {
  const [row] = await call<{ identity_batch_request: string | null }>(
    database.sql,
    'identity_batch_request',
    {
      batch_id: batchId,
    },
  );
  return row!.identity_batch_request;
}

async function requestFor(ids: number[]): Promise<string | null> {
  return request(await batchOf(ids));
}

/** Plans these ids, as one batch. */
async function batchOf(ids: number[]): Promise<string> {
  const runId = await plan(database.sql, { scope: 'ids', ids });
  const batches = await database.sql<{ batch_id: string }[]>`
    select batch_id from identity_sync.batch where run_id = ${runId}`;
  expect(batches).toHaveLength(1);
  return batches[0]!.batch_id;
}

const inputsOf = (body: string | null): { library_id: number }[] => JSON.parse(body!).inputs;

async function legacyReleaseId(id: number): Promise<number> {
  const [row] = await database.sql`select legacy_release_id from wxyc_schema.library where id = ${id}`;
  return row!.legacy_release_id;
}
