// `replay`: the operator says of which run and of which libraries.
import { expect } from 'vitest';
import { shelveAll } from '../support/catalogue.js';
import { test } from '../support/test.js';
import { singleArtist } from '../support/verdicts.js';

test('replays the libraries that are named, leaves the others, and a dry run leaves all', async ({
  database,
  cli,
}) => {
  const { sql } = database;
  const ids = await shelveAll(sql, 'Autechre', 'Stereolab');
  await sql`alter table wxyc_schema.library_identity add constraint closed check (confidence < 1) not valid`;
  const refused = JSON.stringify(ids.map((id) => singleArtist(id, { confidence: 1 })));
  await sql`select identity_sync.apply_identity_verdicts(${refused}::text::jsonb, ${ids}::integer[], 'consumer:lml-bulk')`;
  await sql`alter table wxyc_schema.library_identity drop constraint closed`;
  const quarantined = async () =>
    (await sql`select library_id from identity_sync.quarantine order by 1`).map((row) => row.library_id);
  expect(await quarantined()).toEqual(ids);

  const rehearsed = await cli.run(['replay', '--ids', String(ids[0]), '--dry-run']);
  expect(JSON.parse(rehearsed.stdout)).toMatchObject({ replayed: 1, rows_resolved: 1 });
  expect(await quarantined()).toEqual(ids);

  const { status, stdout } = await cli.run(['replay', '--ids', String(ids[0])]);
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ replayed: 1, rows_resolved: 1 });
  expect(await quarantined()).toEqual([ids[1]]);
});
