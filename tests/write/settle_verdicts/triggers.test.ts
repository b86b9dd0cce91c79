// The writer forbids plans that read whole tables. The triggers of the station, which read what they like, do not pay for it.
import { expect, test } from 'vitest';
import { lastRun, undo } from '../../support/undo.js';
import { apply, DILATE, service, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('a trigger that reads a table without an index is not compiled for it, in writing nor in undoing', async () => {
  const { sql } = writer;
  await sql.unsafe(`
    create schema cdc;
    create table cdc.seen (at text, jit text);
    create function cdc.look() returns trigger language plpgsql as $$
      begin
        insert into cdc.seen values (tg_op || ' ' || tg_table_name, current_setting('jit'));
        return coalesce(new, old);
      end $$;
    create trigger look before insert or update or delete on wxyc_schema.library_identity
      for each row execute function cdc.look();
    create trigger look before insert or update or delete on wxyc_schema.library_identity_source
      for each row execute function cdc.look();
    create trigger look before insert or update or delete on wxyc_schema.library_identity_history
      for each row execute function cdc.look()`);
  await service(sql, [singleArtist(DILATE)]);
  await apply(sql, [singleArtist(DILATE, { confidence: 0.9 })]);
  await undo(sql, await lastRun(sql));

  const seen = await sql<{ at: string; jit: string }[]>`select distinct at, jit from cdc.seen`;
  expect(seen.map(({ at }) => at)).toEqual(
    expect.arrayContaining(['INSERT library_identity', 'UPDATE library_identity']),
  );
  expect(seen.filter(({ jit }) => jit !== 'off')).toEqual([]);
});
