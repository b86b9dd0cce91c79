// The end of a call: its answer is handed to the database.
import { backoff, MAX_BACKOFF_MS, retry, retryWhileDisconnected } from '../database/retry.js';
import type { Carrier } from './lane.js';
import { LEASE_MARGIN_MS } from './lease.js';
import { type Finished, failBatch, type PendingAnswer, reportFinished, reportWriteError } from './report.js';

/** Hands an answer over; where the database cannot take it for no fault of the answer's, again after a pause. */
export async function finishCall(carrier: Carrier, leasedBy: string, pending: PendingAnswer): Promise<void> {
  const { answer, batchId } = pending;
  const finish = () => carrier.sql<[Finished]>`
    select outcome, reason, cache_stats, drift from identity_sync.finish_identity_call(
      batch_id => ${batchId}, leased_by => ${leasedBy}, http_status => ${answer.status}, body => ${answer.body},
      failure => ${answer.failure}, latency_ms => ${answer.latencyMs}, retry_after => ${answer.retryAfter},
      max_tries => ${carrier.maxTries})`;
  // While this lane waits to try again, no other lane may take its batch and ask once more.
  const renew = () => carrier.sql`
    select from identity_sync.renew_identity_lease(
      batch_id => ${batchId}, leased_by => ${leasedBy}, lease_ms => ${MAX_BACKOFF_MS + LEASE_MARGIN_MS})`;
  let finished: Finished;
  try {
    [finished] = await retry(
      () =>
        retryWhileDisconnected(finish).catch(async (error) => {
          await renew().catch(() => {});
          throw error;
        }),
      (error, tries) => {
        reportWriteError(pending, tries, error);
        return tries < carrier.maxTries ? backoff(tries) : null;
      },
    );
  } catch (error) {
    return await failBatch(carrier, leasedBy, pending, error);
  }
  reportFinished(carrier, pending, finished);
}
