// Nearly all rows of nearly all nights are confirmed. A confirmation stays within its page and touches no index, as long as
// no index holds what a confirmation writes.
import { expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import { singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('confirmations are HOT updates, one and all', async () => {
  const ids = Array.from({ length: 200 }, (_, number) => 5001 + number);
  await shelveRows(
    writer.sql,
    ids.map((id) => ({ id })),
  );
  const verdicts = ids.map((id) => singleArtist(id));
  await writer.service(verdicts, { verifiedAt: new Date(Date.now() - 60_000) });

  const [updates] = await writer.sql.begin(async (sql) => {
    await sql`
      select identity_sync.apply_identity_verdicts(${JSON.stringify(verdicts)}::text::jsonb, ${ids}, 'consumer:lml-bulk')`;
    return sql`
      select
        pg_stat_get_xact_tuples_updated(oid)::integer as made,
        pg_stat_get_xact_tuples_hot_updated(oid)::integer as hot
      from pg_class
      where oid = 'wxyc_schema.library_identity'::regclass`;
  });

  expect(updates).toEqual({ made: 200, hot: 200 });
});
