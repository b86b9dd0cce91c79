// Each library that keeps the backfill from being complete has one cause, and an artist that is resolved once is
// resolved for all its records.
import { expect } from 'vitest';
import { call, shelve, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { compilation, singleArtist, unresolved } from '../../support/verdicts.js';

test('the gate counts each library once, by how it is resolved or why it is not', async ({
  database: { sql },
}) => {
  const [resolved, sibling, low, inherited, heir, various, unknown, refused] = await shelveAll(
    sql,
    ...[
      'Autechre',
      'Autechre',
      'Sessa',
      'Juana Molina',
      'Juana Molina',
      'Various',
      'Nobody',
      'Jessica Pratt',
    ],
  );
  const [never, marked] = await shelveAll(sql, 'Never asked', 'Not on Discogs');
  await shelve(sql, { artist: ' ' });
  for (const [one, other] of [
    [sibling, resolved],
    [heir, inherited],
  ]) {
    await sql`
      update wxyc_schema.library set artist_id = (select artist_id from wxyc_schema.library where id = ${other!})
      where id = ${one!}`;
  }
  await call(sql, 'apply_identity_verdicts', {
    response: [
      singleArtist(resolved),
      singleArtist(low, { method: 'llm', confidence: 0.65 }),
      singleArtist(inherited),
      compilation(various),
      unresolved(unknown),
      { ...singleArtist(refused), main: 7 },
    ],
    requested: [resolved, low, inherited, various, unknown, refused],
    origin: 'consumer:lml-bulk',
  });
  await sql`
    update wxyc_schema.library_identity set method = 'inherited' where library_id = ${inherited}`;
  await sql`alter table wxyc_schema.library add discogs_unavailable boolean`;
  await sql`update wxyc_schema.library set discogs_unavailable = true where id = ${marked}`;

  const [gate] = await sql`select * from identity_sync.gate`;
  expect({ ...gate }).toEqual({
    truly_unresolved: '8',
    allowed: 1000,
    is_complete: true,
    libraries: '11',
    resolved: '2',
    resolved_by_artist: '1',
    no_name: '1',
    not_on_discogs: '1',
    compilation: '1',
    unresolved: '1',
    refused: '1',
    never_asked: '2',
    other: '1',
  });
  expect(never).toBeGreaterThan(0);
});
