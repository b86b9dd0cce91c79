// Watches the station's tables for statements, as its caches do: a trigger for a statement fires where no row changes, too.
import type postgres from 'postgres';

const WATCHED = [
  'library',
  'artists',
  'compilation_track_artist',
  'library_identity',
  'library_identity_source',
  'library_identity_history',
];

/** From here on each statement leaves a line. Returns a reader of these lines, in order. */
export async function watchStatements(sql: postgres.Sql): Promise<() => Promise<string[]>> {
  await sql.unsafe(`
    create table station.statement (number serial, name text);
    create function station.notice() returns trigger language plpgsql as $$
    begin
      insert into station.statement (name) values (tg_table_name || ' ' || tg_op);
      return null;
    end $$;
    ${WATCHED.map(
      (table) => `
        create trigger notice after insert or update or delete or truncate on wxyc_schema.${table}
        for each statement execute function station.notice();`,
    ).join('')}`);
  return async () => {
    const rows = await sql`select name from station.statement order by number`;
    return rows.map(({ name }) => name);
  };
}
