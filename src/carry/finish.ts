// The end of a call: its answer is handed to the database, or its batch given up.
import { backoff, retry, retryWhileDisconnected } from '../database/retry.js';
import { describeFailure } from '../observe/log.js';
import type { Carrier } from './lane.js';
import { type Finished, type PendingAnswer, reportCall, reportFinished, reportWriteError } from './report.js';

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

/** Gives up a batch whose answer the database could not take, and reports it. Its rows stay due. */
async function failBatch(
  carrier: Carrier,
  leasedBy: string,
  pending: PendingAnswer,
  error: unknown,
): Promise<void> {
  const { answer, batchId, inputs, run } = pending;
  const { message: failure } = describeFailure(error);
  await carrier.sql`
    select from identity_sync.fail_identity_batch(
      batch_id => ${batchId}, failure => ${failure}, counted_as => 'writer_error', leased_by => ${leasedBy})`;
  reportCall(carrier, pending, null);
  const { status } = answer;
  carrier.observer.batchFailed(run, {
    batchId,
    batchSize: inputs,
    countedAs: 'writer_error',
    status,
    failure,
  });
}
