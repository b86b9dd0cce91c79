// How many calls a second the database can give out: lanes that claim, make no call, and hand an answer over at once.
import type postgres from 'postgres';
import { connect, cpuMsOf, pidOf } from './server.js';
import { answerText } from './verdicts.js';

export interface Claims {
  lanes: number;
  batchSize: number;
  claims: number;
  seconds: number;
  /** The time of the server's processors that a claim and a finished call take; null where the system does not say. */
  claimMs: number | null;
  finishMs: number | null;
}

interface Claim {
  batch_id: string | null;
  request: string | null;
  wait_ms: number;
}

// Planning and queueing the whole catalogue in small batches is another matter.
const PARTITIONS = 16;

/**
 * Carries a run over what was never asked, as lanes do: claiming gives up the last call's place in flight, and its answer
 * is written meanwhile, on a second session. It ends after so many claims.
 */
export async function claimAndFinish(
  url: string,
  { lanes, batchSize, claims: limit }: { lanes: number; batchSize: number; claims: number },
): Promise<Claims> {
  const admin = connect(url);
  const [{ run_id }] = await admin<[{ run_id: string }]>`
    select identity_sync.plan_identity_run(
      include_null_canonical => true, partition_count => ${PARTITIONS}, batch_size => ${batchSize}, va_batch_size => ${batchSize}, lanes => 1,
      accept => array['unresolved', 'refused', 'changed']) as run_id`;
  await admin`vacuum analyze identity_sync.batch`;
  const sessions = await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      const [claiming, finishing] = [connect(url), connect(url)];
      return {
        claiming,
        finishing,
        leasedBy: `host:1:${lane}`,
        pids: [await pidOf(claiming), await pidOf(finishing)] as const,
      };
    }),
  );
  /** Carries until so many claims were made; what was claimed is finished. */
  async function carry(limit: number): Promise<number> {
    let claims = 0;
    const lane = async ({ claiming, finishing, leasedBy }: (typeof sessions)[number]) => {
      let answered: string | null = null;
      let request: string | null = null;
      let finished: Promise<unknown> = Promise.resolve();
      while (claims < limit) {
        const [claim]: Claim[] = await claiming<Claim[]>`
          select batch_id, request, wait_ms from identity_sync.claim_identity_batch(
            run_id => ${run_id}, leased_by => ${leasedBy}, concurrency => ${lanes}, lease_ms => 600000,
            answered => ${answered})`;
        await finished;
        if (answered !== null) finished = finish(finishing, leasedBy, answered, request);
        finished.catch(() => {});
        answered = claim?.batch_id ?? null;
        if (!claim) break;
        if (answered !== null) claims++;
        else await new Promise((resolve) => setTimeout(resolve, claim.wait_ms));
        request = claim.request;
      }
      await finished;
      if (answered !== null) await finish(finishing, leasedBy, answered, request);
    };
    await Promise.all(sessions.map(lane));
    return claims;
  }

  // A session's first claim plans its statements.
  await carry(2 * lanes);
  const cpu = (which: 0 | 1) => sum(sessions.map(({ pids }) => cpuMsOf(pids[which])));
  const [claimCpu, finishCpu] = [cpu(0), cpu(1)];
  const started = performance.now();
  const claims = await carry(limit);
  const seconds = (performance.now() - started) / 1000;
  const measured: Claims = {
    lanes,
    batchSize,
    claims,
    seconds,
    claimMs: Number.isNaN(claimCpu) ? null : (cpu(0) - claimCpu) / claims,
    finishMs: Number.isNaN(claimCpu) ? null : (cpu(1) - finishCpu) / claims,
  };
  await admin`select identity_sync.stop_identity_run(run_id => ${run_id}, reason => 'measured')`;
  await Promise.all(sessions.flatMap(({ claiming, finishing }) => [claiming.end(), finishing.end()]));
  await admin.end();
  return measured;
}

/** Hands LML's answer over; where the claim has no request, an answer is kept, and there is none to hand over. */
async function finish(
  sql: postgres.Sql,
  leasedBy: string,
  batchId: string,
  request: string | null,
): Promise<void> {
  const ids = (text: string) =>
    (JSON.parse(text) as { inputs: { library_id: number }[] }).inputs.map((input) => input.library_id);
  const body = request === null ? null : answerText(ids(request), 'original');
  const [{ outcome }] = await sql<[{ outcome: string }]>`
    select outcome from identity_sync.finish_identity_call(
      batch_id => ${batchId}, leased_by => ${leasedBy}, http_status => 200, body => ${body}, failure => null,
      latency_ms => 1)`;
  if (outcome !== 'applied' && outcome !== 'kept') throw new Error(`a call ended as ${outcome}`);
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
