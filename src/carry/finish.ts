// The end of a call: its answer is handed to the database.
import { backoff, retry, retryWhileDisconnected } from '../database/retry.js';
import type { Carrier } from './lane.js';
import { type Finished, failBatch, type PendingAnswer, reportFinished, reportWriteError } from './report.js';

/** Hands an answer over; where the database cannot take it for no fault of the answer's, again after a pause. */
export async function finishCall(carrier: Carrier, leasedBy: string, pending: PendingAnswer): Promise<void> {
  const { answer, batchId } = pending;
  const finish = () => carrier.sql<[Finished]>`
    select outcome, reason, cache_stats, drift from identity_sync.finish_identity_call(
      batch_id => ${batchId}, leased_by => ${leasedBy}, http_status => ${answer.status}, body => ${answer.body},
      failure => ${answer.failure}, latency_ms => ${answer.latencyMs}, retry_after => ${answer.retryAfter},
      max_tries => ${carrier.maxTries})`;
  let finished: Finished;
  try {
    [finished] = await retry(
      () => retryWhileDisconnected(finish),
      (error, tries) => {
        reportWriteError(pending, tries, error);
        return tries < carrier.maxTries ? backoff(tries) : null;
      },
    );
  } catch (error) {
    return await failBatch(carrier, leasedBy, pending, error);
  } finally {
    pending.letGo();
  }
  reportFinished(carrier, pending, finished);
}
