// Beside the working path: what the log and Sentry hear of a call.
import { log, logFailure } from '../observe/log.js';
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
  /** Ends its lease's renewals, and drops its body. */
  letGo(): void;
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

// What became of a batch, as its log line goes on.
const WORDS: Record<Exclude<Finished['outcome'], 'applied' | 'kept'>, string> = {
  retried: 'is tried again',
  deferred: 'waits until LML takes calls again',
  split: 'is cut in two',
  abandoned: 'is left due, since its run is stopping',
  poison_input: 'holds an input that LML cannot take; it is in quarantine',
  failed: 'failed',
  lost: 'was taken over by another lane',
};

/** The fields of each line about a batch. */
const lineOf = ({ run, batchId }: PendingAnswer) => ({
  step: 'settle',
  run_id: Number(run.runId),
  batch_id: Number(batchId),
});

/** Reports a finished call to the log and to Sentry. */
export function reportFinished(carrier: Carrier, pending: PendingAnswer, finished: Finished): void {
  const { observer } = carrier;
  const { answer, batchId, inputs, run } = pending;
  const { outcome, reason, cache_stats: cacheStats, drift } = finished;
  const { status } = answer;
  reportCall(carrier, pending, cacheStats);
  const line = lineOf(pending);
  const because = reason === null ? '' : `: ${reason}`;
  if (outcome === 'kept') {
    log.info({ ...line, reason }, `batch ${batchId} is applied as soon as its rows are free${because}`);
  } else if (outcome !== 'applied') {
    log.warn({ ...line, outcome, status, reason }, `batch ${batchId} ${WORDS[outcome]}${because}`);
  }
  if (outcome === 'failed') {
    const failure = reason ?? outcome;
    observer.batchFailed(run, { batchId, batchSize: inputs, countedAs: 'lml_error', status, failure });
  }
  if (drift) {
    const breaches = Object.entries(drift).map(([key, results]) => `${results} ${key}`);
    log.warn({ ...line, drift }, `LML broke its contract in batch ${batchId}: ${breaches.join(', ')}`);
    observer.protocolDrifted(run, batchId, drift);
  }
}

/** Logs that the database could not take an answer. */
export function reportWriteError(pending: PendingAnswer, tries: number, error: unknown): void {
  logFailure(
    'warn',
    { ...lineOf(pending), tries },
    `the database could not take the answer for batch ${pending.batchId}`,
    error,
  );
}

export function reportCall(
  { observer }: Carrier,
  pending: PendingAnswer,
  cacheStats: Finished['cache_stats'],
): void {
  const { answer, inputs, isKept, run, startedAt } = pending;
  if (isKept) return;
  const { status, failure, latencyMs } = answer;
  observer.callEnded(run, { startedAt, latencyMs, batchSize: inputs, status, failure, cacheStats });
}
