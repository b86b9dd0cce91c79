// Logs: JSON lines on standard error, so that standard output holds results only.
import { pino } from 'pino';

export const log = pino(
  {
    base: { repo: 'library-identity-sync', tool: 'identity-sync' },
    timestamp: pino.stdTimeFunctions.isoTime,
  },
  pino.destination({ dest: 2, sync: true }),
);

/** What may be said of a failure: its message and, from PostgreSQL, its code; never a query's parameters or a URL. */
export function describeFailure(error: unknown): { message: string; code?: string } {
  const { message, code } = error as { message?: unknown; code?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : String(code ?? error);
  return {
    message: text.replaceAll(/\b([a-z+]+:\/\/)[^\s@/]+@/g, '$1'),
    ...(typeof code === 'string' && { code }),
  };
}
