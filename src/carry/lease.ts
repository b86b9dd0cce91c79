// How long a batch is in a lane's hands, and what follows from it.

// A dead process's claim is free this long after its call must have ended.
export const LEASE_MARGIN_MS = 10_000;

/**
 * How long a lane waits for the database's answer: half a lease, so that an answer of LML which a silent session did not
 * take is handed over by another one before its batch is free again.
 */
export const lanePatienceMs = (timeoutMs: number): number =>
  Math.min(60_000, (timeoutMs + LEASE_MARGIN_MS) / 2);
