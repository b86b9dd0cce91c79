// What a library was asked by is remembered with its answer.
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  MONDAY,
  repair,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

/** Of which libraries the question is remembered that would be asked now. */
async function remembered(): Promise<number[]> {
  const rows = await writer.sql<{ library_id: number }[]>`
    select asked_as.library_id from identity_sync.asked_as
    join wxyc_schema.library on library.id = asked_as.library_id
    where asked_as.fingerprint = identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    order by asked_as.library_id`;
  return rows.map((row) => row.library_id);
}

test.each([
  ['resolves', singleArtist(DILATE)],
  ['does not resolve', unresolved(DILATE)],
  ['calls a compilation', compilation(DILATE)],
  ['says unreadably', singleArtist(DILATE, { method: '' })],
])('what LML %s is remembered', async (_, verdict) => {
  await writer.service([verdict], { requested: [DILATE, SANGOMA, DILATE] });
  expect(await remembered()).toEqual([DILATE]);
});

test('where the row is set by hand, too; what a person says answers no question', async () => {
  await repair(writer.sql, [singleArtist(DILATE)]);
  expect(await remembered()).toEqual([]);
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  expect(await remembered()).toEqual([DILATE]);
});

test('what is older than the identity there is not', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  await writer.sql`truncate identity_sync.asked_as`;
  await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
  expect(await remembered()).toEqual([]);
});

test('the same question is not written again, and another one is', async () => {
  await writer.service([singleArtist(DILATE)]);
  const version = async () =>
    (
      await writer.sql`select xmin::text, fingerprint from identity_sync.asked_as where library_id = ${DILATE}`
    )[0];
  const first = await version();
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  expect(await version()).toEqual(first);

  await writer.sql`update wxyc_schema.library set artist_name = 'Ani' where id = ${DILATE}`;
  await writer.service([unresolved(DILATE)], { verifiedAt: TUESDAY });
  expect(await version()).not.toEqual(first);
  expect(await remembered()).toContain(DILATE);
});

test('another question that LML did not answer is not remembered', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.sql`update wxyc_schema.library set artist_name = 'Ani' where id = ${DILATE}`;
  await writer.service([singleArtist(SANGOMA)], { requested: [DILATE, SANGOMA], verifiedAt: TUESDAY });
  expect(await remembered()).toEqual([SANGOMA]);
});

test('the rows that were asked by another name before are told, and no others', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)]);
  await writer.sql`update wxyc_schema.library set artist_name = 'Ani' where id = ${DILATE}`;
  const [row] = await writer.sql`
    select identity_sync_private.remember_questions(
      '{}', array_agg(id order by id),
      array_agg(identity_sync_private.fingerprint(id, artist_name, album_title) order by id)
    ) as renamed
    from wxyc_schema.library`;
  expect(row).toEqual({ renamed: [DILATE] });
});

test('a transaction too old to see what another session remembered begins again', async () => {
  const [row] = await writer.sql<[{ fingerprint: string }]>`
    select identity_sync_private.fingerprint(id, artist_name, album_title) as fingerprint
    from wxyc_schema.library where id = ${DILATE}`;
  const remember = (sql: postgres.Sql) => sql`
    select identity_sync_private.remember_questions('{}', array[${DILATE}::integer], array[${row.fingerprint}::bigint])`;
  const { sql } = await writer.session();
  await sql.unsafe('begin isolation level repeatable read');
  await sql`select from identity_sync.asked_as`;
  await remember(writer.sql);
  await expect(remember(sql)).rejects.toMatchObject({ code: '40001' });
  await sql`rollback`;
});
