// How long a batch is in a lane's hands, and what follows from it.
import { retryWhileDisconnected } from '../database/retry.js';
import type { Carrier } from './lane.js';

// A dead process's claim is free this long after its call must have ended.
export const LEASE_MARGIN_MS = 10_000;

/**
 * How long a lane waits for the database's answer: half a lease, so that an answer of LML which a silent session did not
 * take is handed over by another one before its batch is free again.
 */
export const lanePatienceMs = (timeoutMs: number): number =>
  Math.min(60_000, (timeoutMs + LEASE_MARGIN_MS) / 2);

/**
 * Renews a lane's lease at each half of it, until the function returned is called: an answer may wait for room in hand, for
 * the one before it or for the database, and no other lane may ask for it meanwhile.
 */
export function keepLease({ sql, timeoutMs }: Carrier, batchId: string, leasedBy: string): () => void {
  const leaseMs = timeoutMs + LEASE_MARGIN_MS;
  const renew = () => sql`
    select from identity_sync.renew_identity_lease(
      batch_id => ${batchId}, leased_by => ${leasedBy}, lease_ms => ${leaseMs})`;
  const timer = setInterval(() => void retryWhileDisconnected(renew).catch(() => {}), leaseMs / 2);
  return () => clearInterval(timer);
}
