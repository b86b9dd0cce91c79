// The service's whole work outside the database: claim a batch, POST its request, hand the answer's text over.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../database/connect.js';
import { describeFailure, log } from '../observe/log.js';
import type { Observer, RunTrace } from '../observe/sentry.js';
import type { Answer, Lml } from './lml.js';

export interface Carrier {
  sql: Sql;
  lml: Lml;
  concurrency: number;
  timeoutMs: number;
  maxTries: number;
  throttleMs: number;
  /** Raised, no batch is claimed any more, and the calls in flight are finished. */
  stop: AbortSignal;
  /** Raised, the calls in flight are cut off too, and their batches given back. */
  abortNow: AbortSignal;
  observer: Pick<Observer, 'callEnded' | 'batchFailed' | 'protocolDrifted'>;
}

interface Claim {
  batch_id: string | null;
  request: string;
  wait_ms: number;
  inputs: number;
  trace_id: string;
}

/** An answer that has come and is to be settled. */
interface InHand {
  run: RunTrace;
  batchId: string;
  inputs: number;
  startedAt: number;
  answer: Answer;
}

interface Settled {
  outcome: 'applied' | 'retried' | 'deferred' | 'split' | 'abandoned' | 'poison_input' | 'failed' | 'lost';
  reason: string | null;
  cache_stats: Record<string, unknown> | null;
  drift: Record<string, number> | null;
}

// A dead process's claim is free this long after its call must have ended.
const LEASE_MARGIN_MS = 10_000;

// A database that restarts is back within this time, or this process has nothing to live for.
const RECONNECT_MS = 60_000;

/**
 * One lane of a run: carries batch after batch until none is left or it is told to stop. Claiming the next batch gives up
 * the last one's place in flight, and the last one's answer is settled while the next is on its way.
 * A lane that is stopped early enlists another in its place.
 */
export async function carryLane(carrier: Carrier, runId: string, leasedBy: string): Promise<void> {
  const { sql, lml, stop, abortNow } = carrier;
  let inHand = null as InHand | null;
  let settled: Promise<unknown> = Promise.resolve();
  let isSettling = false;
  const startSettling = (answered: InHand) => {
    isSettling = true;
    settled = settle(carrier, leasedBy, answered).finally(() => {
      isSettling = false;
    });
    settled.catch(() => {});
  };

  while (!stop.aborted) {
    const answered = inHand?.batchId ?? null;
    const [claim]: Claim[] = await onceConnected(
      () => sql<Claim[]>`
        select batch_id, request, wait_ms, inputs, trace_id from identity_sync.claim_identity_batch(
          run_id => ${runId}, leased_by => ${leasedBy}, concurrency => ${carrier.concurrency},
          lease_ms => ${carrier.timeoutMs + LEASE_MARGIN_MS}, answered => ${answered})`,
    ).catch(async (error) => {
      // Whatever keeps this lane from going on, the answer that has come is not to be asked for again.
      if (inHand) await settle(carrier, leasedBy, inHand);
      throw error;
    });
    if (inHand) startSettling(inHand);
    inHand = null;
    if (!claim) break;
    if (claim.batch_id === null) {
      // What this lane is settling may be all that is left.
      const waited = pause(claim.wait_ms, stop);
      await (isSettling ? Promise.race([waited, settled]) : waited);
      continue;
    }

    const startedAt = Date.now();
    const answer = await lml.ask(claim.request, abortNow);
    await settled;
    if (abortNow.aborted) {
      await sql`select from identity_sync.return_identity_batch(batch_id => ${claim.batch_id}, leased_by => ${leasedBy})`;
      break;
    }
    const run = { runId, traceId: claim.trace_id };
    inHand = { run, batchId: claim.batch_id, inputs: claim.inputs, startedAt, answer };
    // What went wrong is settled before anything else is asked: it may be the last call that this run makes. And no answer
    // lies unwritten during a pause.
    if (answer.status !== 200 || carrier.throttleMs > 0) {
      await settle(carrier, leasedBy, inHand);
      inHand = null;
    }
    await pause(carrier.throttleMs, stop);
  }

  if (inHand) startSettling(inHand);
  await settled;
  if (stop.aborted) await sql`select from identity_sync.enqueue_lanes(run_id => ${runId}, lanes => 1)`;
}

/**
 * Hands an answer over. Where the database cannot take it, through no fault of the answer, the same text is handed over
 * again after a pause, and in the end the batch is given up; what the database refuses by its content it keeps itself.
 */
async function settle(carrier: Carrier, leasedBy: string, inHand: InHand): Promise<void> {
  const { sql } = carrier;
  const { answer, batchId, run } = inHand;
  for (let tries = 1; ; tries++) {
    try {
      const [settled] = await onceConnected(
        () => sql<[Settled]>`
          select outcome, reason, cache_stats, drift from identity_sync.finish_identity_call(
            batch_id => ${batchId}, leased_by => ${leasedBy}, http_status => ${answer.status}, body => ${answer.body},
            failure => ${answer.failure}, latency_ms => ${answer.latencyMs}, retry_after => ${answer.retryAfter},
            max_tries => ${carrier.maxTries})`,
      );
      tell(carrier, inHand, settled);
      return;
    } catch (error) {
      const failure = describeFailure(error);
      log.warn(
        { step: 'settle', run_id: run.runId, batch_id: batchId, tries, ...failure },
        'the database could not take an answer',
      );
      if (tries < carrier.maxTries) {
        await sleep(Math.min(30_000, 500 * 2 ** (tries - 1)) * (0.75 + Math.random() / 2));
        continue;
      }
      await sql`
        select from identity_sync.fail_identity_batch(
          batch_id => ${batchId}, failure => ${failure.message}, counted_as => 'writer_error', leased_by => ${leasedBy})`;
      tellCall(carrier, inHand, null);
      const failed = { batchId, batchSize: inHand.inputs, countedAs: 'writer_error', status: answer.status };
      carrier.observer.batchFailed(run, { ...failed, failure: failure.message });
      return;
    }
  }
}

/** Tells the log and the observer what came of a call. */
function tell(carrier: Carrier, inHand: InHand, settled: Settled): void {
  const { observer } = carrier;
  const { answer, batchId, inputs, run } = inHand;
  const { outcome, reason, cache_stats: cacheStats, drift } = settled;
  const { status } = answer;
  tellCall(carrier, inHand, cacheStats);
  if (outcome !== 'applied') {
    log.warn(
      { step: 'settle', run_id: run.runId, batch_id: batchId, status, reason },
      `batch ${batchId}: ${outcome}`,
    );
  }
  if (outcome === 'failed') {
    observer.batchFailed(run, {
      batchId,
      batchSize: inputs,
      countedAs: 'lml_error',
      status,
      failure: reason ?? outcome,
    });
  }
  if (drift) {
    log.warn({ step: 'settle', run_id: run.runId, batch_id: batchId, drift }, 'LML broke its contract');
    observer.protocolDrifted(run, batchId, drift);
  }
}

function tellCall({ observer }: Carrier, inHand: InHand, cacheStats: Settled['cache_stats']): void {
  const { answer, inputs, run, startedAt } = inHand;
  const { status, failure, latencyMs } = answer;
  observer.callEnded(run, { startedAt, latencyMs, batchSize: inputs, status, failure, cacheStats });
}

/** Does its work once the database is there again: what was never heard by a server is no try of anything. */
export async function onceConnected<Result>(work: () => Promise<Result>): Promise<Result> {
  const started = performance.now();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isDisconnection(error) || performance.now() - started > RECONNECT_MS) throw error;
      log.warn({ step: 'database', ...describeFailure(error) }, 'the database is away: trying again');
      await sleep(500);
    }
  }
}

/** A socket that ended, a server that shuts down or starts up; PostgreSQL's own classes are 08 and 57P. */
function isDisconnection(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return (
    typeof code === 'string' && /^(CONNECTION_|ECONN|EPIPE|ENOENT|CONNECT_TIMEOUT|08...|57P0[123])/.test(code)
  );
}

async function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal: stop }).catch(() => {});
}
