// For table tests of private functions: an SQL expression and the value that it has.

import postgres from 'postgres';
import { afterAll, beforeAll, inject } from 'vitest';

/**
 * Gives the calling file a way to evaluate an SQL expression that names our functions without schema. All files share
 * one database, in which no transaction can write.
 */
export function useExpressions() {
  let sql: postgres.Sql;
  beforeAll(() => {
    sql = postgres(inject('server').readOnlyUrl, { max: 1, onnotice: () => {} });
  });
  afterAll(() => sql.end());
  return async (expression: string): Promise<unknown> => {
    const [, [row]] = (await sql.unsafe(`
      set search_path = identity_sync, identity_sync_private, pg_catalog;
      select to_jsonb(${expression}) as value;`)) as unknown as [unknown, [{ value: unknown }]];
    return row.value;
  };
}
