// For tests of private functions that take the writer's composite types: values of them, written as plain objects.
import type postgres from 'postgres';
import type { Fields } from './verdicts.js';

/** An array of a composite type. Attributes that an object leaves out are NULL. */
export function arrayOf(
  sql: postgres.Sql,
  type: string,
  values: Fields[],
): postgres.PendingQuery<postgres.Row[]> {
  const name = sql(`identity_sync_private.${type}`);
  return sql`array(
    select jsonb_populate_record(null::${name}, value)
    from jsonb_array_elements(${JSON.stringify(values)}::text::jsonb) with ordinality as listed (value, position)
    order by position
  )`;
}
