// For table tests of private functions: an SQL expression and the value that it has.
import { useDatabase } from './database.js';

/** Gives the calling file a database, and a way to evaluate an SQL expression that names our functions without schema. */
export function useExpressions() {
  const database = useDatabase();
  return async (expression: string): Promise<unknown> => {
    const [, [row]] = (await database.sql.unsafe(`
      set search_path = identity_sync, identity_sync_private, pg_catalog;
      select to_jsonb(${expression}) as value;`)) as unknown as [unknown, [{ value: unknown }]];
    return row.value;
  };
}
