// The service's whole work outside the database: claim a batch, POST its request, hand the answer's text over.
import type { Sql } from '../database/connect.js';
import { pause, retryWhileDisconnected } from '../database/retry.js';
import type { Observer } from '../observe/sentry.js';
import { finishCall } from './finish.js';
import { keepLease, LEASE_MARGIN_MS } from './lease.js';
import { KEPT_ANSWER, type Lml } from './lml.js';
import type { PendingAnswer } from './report.js';

export interface Carrier {
  sql: Sql;
  lml: Lml;
  concurrency: number;
  timeoutMs: number;
  maxTries: number;
  throttleMs: number;
  /** Once aborted, no batch is claimed any more; the calls in flight are finished. */
  stop: AbortSignal;
  /** Once aborted, the calls in flight are cut off too, and their batches returned. */
  abortNow: AbortSignal;
  observer: Pick<Observer, 'callEnded' | 'batchFailed' | 'protocolDrifted'>;
}

interface Claim {
  batch_id: string | null;
  /** Null where the database has kept the batch's answer, and no call is needed. */
  request: string | null;
  wait_ms: number;
  inputs: number;
  trace_id: string;
}

/**
 * One lane of a run: carries batch after batch until none is left or it is told to stop; then it enqueues its successor.
 * Claiming the next batch gives up the last call's place in flight, and the last answer is written during the next call.
 */
export async function carryLane(carrier: Carrier, runId: string, leasedBy: string): Promise<void> {
  const { sql, lml, stop, abortNow } = carrier;
  let pending = null as PendingAnswer | null;
  let finishing = null as Promise<void> | null;
  const startFinishing = (answer: PendingAnswer) => {
    finishing = finishCall(carrier, leasedBy, answer).then(() => {
      finishing = null;
    });
    // A failure is heard where this is awaited.
    finishing.catch(() => {});
  };

  while (!stop.aborted) {
    const [claim] = await claimBatch(carrier, runId, leasedBy, pending?.batchId ?? null).catch(
      async (error) => {
        // This lane ends, and its answer must not be asked for again.
        if (pending) await finishCall(carrier, leasedBy, pending);
        throw error;
      },
    );
    if (pending) startFinishing(pending);
    pending = null;
    if (!claim) break;
    if (claim.batch_id === null) {
      // The call that this lane is finishing may be all that is left of the run.
      const waited = pause(claim.wait_ms, stop);
      await (finishing ? Promise.race([waited, finishing]) : waited);
      continue;
    }

    const startedAt = Date.now();
    const isKept = claim.request === null;
    const endLease = keepLease(carrier, claim.batch_id, leasedBy);
    const answer = claim.request === null ? KEPT_ANSWER : await lml.ask(claim.request, abortNow);
    const letGo = () => {
      endLease();
      answer.discard();
    };
    await finishing?.catch((error) => {
      letGo();
      throw error;
    });
    if (abortNow.aborted) {
      letGo();
      await sql`select from identity_sync.return_identity_batch(batch_id => ${claim.batch_id}, leased_by => ${leasedBy})`;
      break;
    }
    const run = { runId, traceId: claim.trace_id };
    pending = { run, batchId: claim.batch_id, inputs: claim.inputs, startedAt, answer, isKept, letGo };
    // A fault is judged before the next call, since it may end the run. And no answer lies unwritten during a pause.
    if (answer.status !== 200 || isKept || carrier.throttleMs > 0) {
      await finishCall(carrier, leasedBy, pending);
      pending = null;
    }
    if (!isKept) await pause(carrier.throttleMs, stop);
  }

  if (pending) startFinishing(pending);
  await finishing;
  if (stop.aborted) await sql`select from identity_sync.enqueue_lanes(run_id => ${runId}, lanes => 1)`;
}

function claimBatch(carrier: Carrier, runId: string, leasedBy: string, answered: string | null) {
  return retryWhileDisconnected(
    () => carrier.sql<Claim[]>`
      select batch_id, request, wait_ms, inputs, trace_id from identity_sync.claim_identity_batch(
        run_id => ${runId}, leased_by => ${leasedBy}, concurrency => ${carrier.concurrency},
        lease_ms => ${carrier.timeoutMs + LEASE_MARGIN_MS}, answered => ${answered})`,
  );
}
