// A refusal shows the verdict as it came, in three pieces of which the middle one is the field at fault.
import { expect } from 'vitest';
import { answerOf, call, shelveAll, verdict } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { leg, singleArtist, withMain } from '../../support/verdicts.js';

test('the field at fault stands between what comes before and after it', async ({ database: { sql } }) => {
  const [main, deep, missing, long, only] = await shelveAll(
    sql,
    ...['Autechre', 'Stereolab', 'Sessa', 'Cat Power', 'Juana Molina'],
  );
  const refused = [
    withMain(singleArtist(main), { discogs_artist_id: 'x' }),
    singleArtist(deep, { provenance: [leg('discogs', '1'), leg('spotify', 'a', { confidence: 7 })] }),
    verdict.invalid(missing),
    withMain(singleArtist(long, { note: '-'.repeat(9000) }), { discogs_artist_id: 'y'.repeat(900) }),
    withMain(singleArtist(only), { discogs_artist_id: 'y'.repeat(900) }),
  ];
  await call(sql, 'apply_identity_response', {
    body: answerOf(refused),
    requested: [main, deep, missing, long, only],
    origin: 'consumer:lml-bulk',
  });
  const [row] = await sql`select identity_sync_private.latest_refusals(20) as entries`;
  const entries = new Map(row!.entries.map((entry: { library_id: number }) => [entry.library_id, entry]));
  expect(entries.get(main)).toMatchObject({
    artist_name: 'Autechre',
    field: 'main.discogs_artist_id',
    before: expect.stringMatching(/"discogs_artist_id": $/),
    at_fault: '"x"',
    after: expect.stringMatching(/\}$/),
    is_cut: false,
  });
  expect(entries.get(deep)).toMatchObject({
    field: 'provenance[1].confidence',
    before: expect.stringMatching(/"confidence": $/),
    at_fault: '7',
  });
  const { before, at_fault, after } = entries.get(deep) as Record<string, string>;
  expect(JSON.parse(before! + at_fault! + after!)).toEqual(refused[1]);
  expect(entries.get(long)).toMatchObject({ at_fault: expect.stringMatching(/^"y{499}$/), is_cut: true });
  expect(entries.get(only)).toMatchObject({ at_fault: expect.stringMatching(/^"y{499}$/), is_cut: true });
  const [bounded] = await sql`select identity_sync_private.latest_refusals(2) as entries`;
  expect(bounded!.entries).toHaveLength(2);
});

test('a verdict that jsonb cannot hold is shown as it came', async ({ database: { sql } }) => {
  const [library] = await shelveAll(sql, 'Autechre');
  const body = answerOf([singleArtist(library, { method: 'a' })]).replace('"a"', '"\\u0000"');
  await call(sql, 'apply_identity_response', { body, requested: [library], origin: 'consumer:lml-bulk' });
  const [row] = await sql`select identity_sync_private.latest_refusals(1) as entries`;
  expect(row!.entries).toMatchObject([{ library_id: library, before: expect.stringContaining('\\u0000') }]);
});

test('a field that is missing is cut out nowhere, and a library that is gone has no name', async ({
  database: { sql },
}) => {
  const shown = async () => {
    const [row] = await sql`select identity_sync_private.latest_refusals(20) as entries`;
    return row!.entries;
  };
  expect(await shown()).toEqual([]);
  const [library] = await shelveAll(sql, 'Autechre');
  const { confidence: _, ...refused } = singleArtist(library);
  await call(sql, 'apply_identity_response', {
    body: answerOf([refused]),
    requested: [library],
    origin: 'consumer:lml-bulk',
  });
  await sql`delete from wxyc_schema.library`;

  const [entry] = await shown();
  expect(entry).toMatchObject({
    library_id: library,
    artist_name: null,
    field: 'confidence',
    at_fault: null,
    after: '',
  });
  expect(JSON.parse(entry.before)).toEqual(refused);
});
