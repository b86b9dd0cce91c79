// Beside the working path: what the log and Sentry hear of a call, and the end of a batch that could not be written.
import { describeFailure, log } from '../observe/log.js';
import type { RunTrace } from '../observe/sentry.js';
import type { Carrier } from './lane.js';
import type { Answer } from './lml.js';

/** An answer that has come and is still to be written. */
export interface PendingAnswer {
  run: RunTrace;
  batchId: string;
  inputs: number;
  startedAt: number;
  answer: Answer;
  /** Whether the database kept this answer of an earlier call, whose end is reported already. */
  isKept: boolean;
}

/** What the database made of an answer. */
export interface Finished {
  outcome:
    | 'applied'
    | 'kept'
    | 'retried'
    | 'deferred'
    | 'split'
    | 'abandoned'
    | 'poison_input'
    | 'failed'
    | 'lost';
  reason: string | null;
  cache_stats: Record<string, unknown> | null;
  drift: Record<string, number> | null;
}

/** Reports a finished call to the log and to Sentry. */
export function reportFinished(carrier: Carrier, pending: PendingAnswer, finished: Finished): void {
  const { observer } = carrier;
  const { answer, batchId, inputs, run } = pending;
  const { outcome, reason, cache_stats: cacheStats, drift } = finished;
  const { status } = answer;
  reportCall(carrier, pending, cacheStats);
  if (outcome === 'kept') {
    log.info(
      { step: 'settle', run_id: run.runId, batch_id: batchId, reason },
      `batch ${batchId}: its answer is kept, and applied as soon as its rows are free`,
    );
  } else if (outcome !== 'applied') {
    log.warn(
      { step: 'settle', run_id: run.runId, batch_id: batchId, status, reason },
      `batch ${batchId}: ${outcome}`,
    );
  }
  if (outcome === 'failed') {
    const failure = reason ?? outcome;
    observer.batchFailed(run, { batchId, batchSize: inputs, countedAs: 'lml_error', status, failure });
  }
  if (drift) {
    log.warn({ step: 'settle', run_id: run.runId, batch_id: batchId, drift }, 'LML broke its contract');
    observer.protocolDrifted(run, batchId, drift);
  }
}

/** Logs that the database could not take an answer. */
export function reportWriteError({ run, batchId }: PendingAnswer, tries: number, error: unknown): void {
  log.warn(
    { step: 'settle', run_id: run.runId, batch_id: batchId, tries, ...describeFailure(error) },
    'the database could not take an answer',
  );
}

/** Gives up a batch whose answer the database could not take, and reports it. Its rows stay due. */
export async function failBatch(
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

function reportCall(
  { observer }: Carrier,
  pending: PendingAnswer,
  cacheStats: Finished['cache_stats'],
): void {
  const { answer, inputs, isKept, run, startedAt } = pending;
  if (isKept) return;
  const { status, failure, latencyMs } = answer;
  observer.callEnded(run, { startedAt, latencyMs, batchSize: inputs, status, failure, cacheStats });
}
