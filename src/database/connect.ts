import postgres from 'postgres';

export type Sql = postgres.Sql;

/** What the database said beside a result. */
export type Notice = postgres.Notice;

/**
 * Opens the sessions that call the database's functions. Only text crosses them, and a query fails at once when its session
 * is cut. They work behind PgBouncer in any mode; graphile-worker's own sessions need LISTEN, and so the session mode. Where
 * `notices` is given, it takes what our functions say beside their results; all other notices are dropped.
 */
export function connectDatabase(url: string, sessions: number, notices?: Notice[]): Sql {
  return postgres(url, {
    max: sessions,
    onnotice: (notice) => {
      if (notice.code?.startsWith('LS')) notices?.push(notice);
    },
    connect_timeout: 10,
    // By default the wait for a server that is away grows to 20 seconds within a few tries, which all sessions count together.
    backoff: () => 0.5,
    connection: { application_name: 'identity-sync', statement_timeout: 600_000, lock_timeout: 60_000 },
  });
}
