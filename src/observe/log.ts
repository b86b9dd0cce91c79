// Logs: JSON lines on standard error, so that standard output holds results only.
import { pino } from 'pino';

export const log = pino(
  {
    base: { repo: 'library-identity-sync', tool: 'identity-sync' },
    timestamp: pino.stdTimeFunctions.isoTime,
  },
  pino.destination({ dest: 2, sync: true }),
);

/** Describes a failure by its message and PostgreSQL's fields, without a query's parameters or a URL's login. */
export function describeFailure(error: unknown): {
  message: string;
  code?: string;
  detail?: string;
  hint?: string;
} {
  const { message, code, detail, hint } = error as Record<string, unknown>;
  const fields = { message: message || String(code ?? error), code, detail, hint };
  const words = Object.entries(fields).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(words.map(([name, word]) => [name, withoutLogin(word)])) as { message: string };
}

const withoutLogin = (text: string) => text.replaceAll(/\b([a-z+]+:\/\/)[^\s/]*@/g, '$1');
