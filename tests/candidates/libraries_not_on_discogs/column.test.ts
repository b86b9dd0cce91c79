import { expect, test } from 'vitest';
import { shelveAll } from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';

const database = useDatabase();

test("follows the station's column from call to call, whether it is there, comes or goes", async () => {
  const { sql } = database;
  const [, marked] = await shelveAll(sql, 'Stereolab', 'Cat Power', 'Sun Ra');
  const session = connect(database.url);
  const found = async () =>
    (await session`select id from identity_sync_private.libraries_not_on_discogs() as of (id)`).map(
      ({ id }) => id,
    );
  // Six calls make PostgreSQL keep a plan.
  for (let call = 0; call < 6; call++) expect(await found()).toEqual([]);

  for (const column of ['boolean', 'boolean not null default false']) {
    await sql.unsafe(`alter table wxyc_schema.library add column discogs_unavailable ${column}`);
    expect(await found()).toEqual([]);
    await sql`update wxyc_schema.library set discogs_unavailable = true where id = ${marked}`;
    for (let call = 0; call < 6; call++) expect(await found()).toEqual([marked]);

    await sql`alter table wxyc_schema.library drop column discogs_unavailable`;
    expect(await found()).toEqual([]);
  }
});
