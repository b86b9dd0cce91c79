// A block of exceptions is a subtransaction, and more than 64 of them overflow a session's cache, which every other session
// then pays for. So one culprit among many is found by halving, in a few tries.
import { expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import { singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('one culprit among 500 costs twenty tries, and no other verdict', async () => {
  const ids = Array.from({ length: 500 }, (_, number) => 5001 + number);
  await shelveRows(
    writer.sql,
    ids.map((id) => ({ id })),
  );
  await writer.sql.unsafe(`
    create sequence station.tries;
    create function station.count() returns trigger language plpgsql as
    $$ begin perform nextval('station.tries'); return null; end $$;
    create trigger count before insert on wxyc_schema.library_identity
    for each statement execute function station.count();
    alter table wxyc_schema.library_identity add constraint station_approves check (library_id <> ${ids[337]}) not valid`);

  const report = await writer.service(ids.map((id) => singleArtist(id)));

  expect(report).toMatchObject({ rows_resolved: 499, rows_skipped: { writer_error: 1 } });
  const [tries] = await writer.sql`select last_value::integer as made from station.tries`;
  expect(tries!.made).toBeLessThanOrEqual(20);
  await writer.sql`alter table wxyc_schema.library_identity drop constraint station_approves`;
});
