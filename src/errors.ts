// Failures in words: what, where, and what to do. One table for all commands.
import { describeFailure } from './observe/log.js';

/** A failure whose message says all of it; what was behind it is its cause. */
export class Failure extends Error {}

const MIGRATE = 'Run identity-sync migrate, then sql/roles.sql (README, "Production").';
const ROLES = 'psql "$DBA_URL" -v worker=LOGIN or operator=LOGIN, -f sql/roles.sql (README, "Which login")';

/** Before a program knows that its database is its own: what its first call meets, by SQLSTATE. */
const AT_FIRST: Record<string, string> = {
  '3F000': `this database has nothing of identity-sync. ${MIGRATE}`,
  '42P01': `this database is older than this program. ${MIGRATE}`,
  '42883': `this database is older than this program. ${MIGRATE}`,
  '42501': `this login may call nothing of identity-sync, or nothing since the last migrate. Give it a role: ${ROLES}.`,
};

/** The same for what any later call meets; it follows PostgreSQL's own words. */
const LATER: Record<string, string> = {
  '42501': `This login lacks the role for it: ${ROLES}.`,
  '42703': 'A column is gone: identity-sync migrate names it, with its type.',
  '42P01': 'A table is gone: identity-sync migrate names it.',
  '42883': 'A function is gone: identity-sync migrate names it.',
};

/** What an address to listen at meets, by errno. */
const LISTENING: Record<string, string> = {
  EADDRINUSE: 'is taken',
  EACCES: 'may not be used by this user',
};

/** Says why a program and its database do not fit. */
export function notFit(error: unknown): unknown {
  const { code } = error as { code?: string };
  const words = AT_FIRST[code ?? ''];
  // What our function raises says all of it, and has a hint.
  if (words === undefined || (error as { hint?: string }).hint) return error;
  return new Failure(words.replace('. ', ` (${code}). `), { cause: error });
}

/** Says a failure in one line, without a secret: what, where, and what to do. */
export function inWords(error: unknown): { words: string; code?: string } {
  const { message, code, detail, hint } = describeFailure(error);
  const { syscall, port } = error as { syscall?: string; port?: number };
  if (error instanceof Failure) return { words: message, ...codeOf(error.cause) };
  if (syscall === 'listen' && code !== undefined) {
    const what = LISTENING[code] ?? 'cannot be listened at';
    return { words: `port ${port} ${what} (${code}). HEALTH_PORT names another.`, code };
  }
  const isSaid = code === undefined || code.startsWith('LS') || message.includes(code);
  // A detail beside a hint names whom the hint is about: the sessions that hold a library, say.
  const found = isSaid || hint === undefined ? undefined : detail;
  const sentences = [isSaid ? message : `${message} (${code})`, found, hint ?? LATER[code ?? ''] ?? detail];
  const words = sentences
    .filter((sentence) => sentence !== undefined)
    .map((sentence) => sentence.replace(/[.\s]*$/, '.').replaceAll(/\s*\n\s*/g, ' '))
    .join(' ');
  return { words, ...codeOf(error) };
}

function codeOf(error: unknown): { code?: string } {
  const { code } = describeFailure(error ?? {});
  return code === undefined ? {} : { code };
}

/** All that is known of a failure, for those who ask for it. */
export function allOf(error: unknown): Record<string, unknown> {
  const { where, query, stack } = error as Record<string, unknown>;
  const { cause } = error as { cause?: unknown };
  const { message: stackText } = describeFailure({ message: String(stack ?? '') });
  return {
    ...describeFailure(error),
    ...(where !== undefined && { where }),
    ...(query !== undefined && { query }),
    stack: stackText,
    ...(cause !== undefined && { cause: allOf(cause) }),
  };
}
