// Retries: while the database is away, while another session holds a lock, and as often as a caller says.
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../observe/log.js';
import { databaseIsAway, databaseIsBack } from '../observe/outage.js';
import { LineFault } from './line.js';

// How long to wait for a restarting database before giving up.
const RECONNECT_MS = 60_000;

const LOCK_PATIENCE_MS = 5 * 60_000;

/** Repeats `work` after each error, once the milliseconds that `pauseAfter` returns are over; null throws the error. */
export async function retry<Result>(
  work: () => Promise<Result>,
  pauseAfter: (error: unknown, tries: number, elapsedMs: number) => number | null,
): Promise<Result> {
  const started = performance.now();
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const pauseMs = pauseAfter(error, tries, performance.now() - started);
      if (pauseMs === null) throw error;
      await sleep(pauseMs);
    }
  }
}

/**
 * Retries while the database is away, for a minute at most. Disconnections do not count as attempts. The log has a line when
 * it goes and one when it is back.
 */
export function retryWhileDisconnected<Result>(work: () => Promise<Result>): Promise<Result> {
  let goneAt: number | null = null;
  const reached = async () => {
    const result = await work();
    if (goneAt !== null) databaseIsBack();
    return result;
  };
  return retry(reached, (error) => {
    if (!isAway(error)) return null;
    goneAt ??= performance.now();
    if (performance.now() - goneAt > RECONNECT_MS) return null;
    databaseIsAway(error);
    return 500;
  });
}

/** Retries for five minutes while another process migrates or another session holds a needed lock, and says so once. */
export function retryWhileLocked<Result>(work: () => Promise<Result>): Promise<Result> {
  return retry(work, (error, tries, elapsedMs) => {
    const reason = reasonToWait(error);
    if (reason === null || elapsedMs > LOCK_PATIENCE_MS) return null;
    if (tries === 1) {
      log.warn({ step: 'migrate' }, `${reason}; trying again for ${LOCK_PATIENCE_MS / 60_000} minutes`);
    }
    return 1000;
  });
}

/** The pause after so many tries in milliseconds: half a second, doubled each time up to 30 seconds, and spread. */
export function backoff(tries: number): number {
  return Math.min(30_000, 500 * 2 ** (tries - 1)) * (0.75 + Math.random() / 2);
}

/** Sleeps for so many milliseconds, or until `stop` is aborted. */
export async function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal: stop }).catch(() => {});
}

/**
 * Whether the database may be there in a moment: no server was reached, or it said that it is stopping, starting or full.
 * Whatever else a server says is an answer.
 */
export function isAway(error: unknown): boolean {
  if (error instanceof LineFault) return error.isAway;
  const { code, severity, message } = error as { code?: unknown; severity?: unknown; message?: unknown };
  if (severity !== undefined) return typeof code === 'string' && GOING_OR_FULL.test(code);
  return code === 'CONNECTION_CLOSED' || (typeof message === 'string' && LOST_BY_PG.test(message));
}

const GOING_OR_FULL = /^(57P0[1235]|53300|0800[01346])$/;

// pg gives these errors no code.
const LOST_BY_PG = /^(Connection terminated|Client has encountered a connection error)/;

function reasonToWait(error: unknown): string | null {
  const { message, code } = error as { message?: string; code?: string };
  if (message === 'Failed to get exclusive lock') return 'another process is migrating this database';
  if (code === '55P03')
    return 'another session holds a lock on what is migrated (see pg_stat_activity), nothing was changed';
  return null;
}
