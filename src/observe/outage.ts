// The database's absence, said once when it begins and once when it is over, however many sessions meet it meanwhile.

import { duration } from '../screens/format.js';
import { log, logFailure } from './log.js';

let awaySince = null as number | null;

/** Says that the database is away, unless that was said already. */
export function databaseIsAway(error: unknown): void {
  if (awaySince !== null) return;
  awaySince = performance.now();
  logFailure('warn', { step: 'database' }, 'the database is away, trying again', error);
}

/** Says that the database is back, where it was away. */
export function databaseIsBack(): void {
  if (awaySince === null) return;
  const awayMs = Math.round(performance.now() - awaySince);
  awaySince = null;
  log.info({ step: 'database', away_ms: awayMs }, `the database is back after ${duration(awayMs)}`);
}
