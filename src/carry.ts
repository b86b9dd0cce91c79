// The service's whole work outside the database: claim a batch, POST its request, hand the answer's text over.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from './database.js';
import type { Answer, Lml } from './lml.js';
import { describeFailure, log } from './log.js';

export interface Carrier {
  sql: Sql;
  lml: Lml;
  concurrency: number;
  timeoutMs: number;
  maxTries: number;
  throttleMs: number;
  strictlyStop: AbortSignal;
}

// A dead process's claim is free this long after its call must have ended.
const LEASE_MARGIN_MS = 10_000;

/**
 * One lane of a run: carries batch after batch until none is left or `stop` is raised, which lets the call in flight
 * finish. The answer of one batch is settled while the next is on its way, and claiming gives up the place in flight.
 * A lane that is stopped early enlists another in its place.
 */
export async function carryLane(
  carrier: Carrier,
  runId: string,
  holder: string,
  stop: AbortSignal,
): Promise<void> {
  const { sql, lml, strictlyStop } = carrier;
  let answered: string | null = null;
  let settled: Promise<unknown> = Promise.resolve();

  while (!stop.aborted) {
    const [claim]: { batch_id: string | null; request: string; wait_ms: number }[] = await sql`
      select batch_id, request, wait_ms from identity_sync.claim_identity_batch(
        run_id => ${runId}, holder => ${holder}, concurrency => ${carrier.concurrency},
        lease_ms => ${carrier.timeoutMs + LEASE_MARGIN_MS}, answered => ${answered})`;
    if (!claim) break;
    if (claim.batch_id === null) {
      await pause(claim.wait_ms, stop);
      continue;
    }

    const answer = await lml.ask(claim.request, strictlyStop);
    await settled;
    if (strictlyStop.aborted) {
      await sql`select from identity_sync.give_back_identity_batch(batch_id => ${claim.batch_id}, holder => ${holder})`;
      break;
    }
    answered = claim.batch_id;
    settled = settle(carrier, answered, holder, answer);
    settled.catch(() => {});
    await pause(carrier.throttleMs, stop);
  }

  await settled;
  if (stop.aborted) await sql`select from identity_sync.enlist_lanes(run_id => ${runId}, lanes => 1)`;
}

/**
 * Hands an answer over. Where the database cannot take it, through no fault of the answer, the same text is handed over
 * again after a pause, and in the end the batch is given up; what the database refuses by its content it keeps itself.
 */
async function settle(carrier: Carrier, batchId: string, holder: string, answer: Answer): Promise<void> {
  const { sql } = carrier;
  for (let attempt = 1; ; attempt++) {
    try {
      await sql`
        select from identity_sync.settle_identity_batch(
          batch_id => ${batchId}, holder => ${holder}, http_status => ${answer.status}, body => ${answer.body},
          failure => ${answer.failure}, latency_ms => ${answer.latencyMs})`;
      return;
    } catch (error) {
      const failure = describeFailure(error);
      log.warn(
        { step: 'settle', batch_id: batchId, attempt, ...failure },
        'the database could not take an answer',
      );
      if (attempt < carrier.maxTries) {
        await sleep(500 * 2 ** (attempt - 1) * (1 + Math.random()));
        continue;
      }
      await sql`
        select from identity_sync.fail_identity_batch(
          batch_id => ${batchId}, failure => ${failure.message}, counted_as => 'writer_error')`;
      return;
    }
  }
}

async function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal: stop }).catch(() => {});
}
