import { hostname } from 'node:os';
import { Logger, type Runner, run as startRunner } from 'graphile-worker';
import { type Carrier, carryLane } from './carry.js';
import { log } from './log.js';

/** This process's name in leases and in the ledger of runs. */
export const PROCESS_NAME = `${hostname()}:${process.pid}`;

/**
 * Starts graphile-worker with the product's tasks, as many at once as calls may be in flight. Raising `stop` lets each
 * lane finish the batch in flight; ending the runner waits for them.
 */
export async function startWorker(databaseUrl: string, carrier: Carrier, stop: AbortSignal): Promise<Runner> {
  return await startRunner({
    connectionString: databaseUrl,
    maxPoolSize: carrier.concurrency + 2,
    concurrency: carrier.concurrency,
    noHandleSignals: true,
    pollInterval: 1000,
    logger: new Logger(() => (level, message) => {
      if (level === 'error') log.error({ step: 'worker' }, message);
      else if (level === 'warning') log.warn({ step: 'worker' }, message);
      else log.debug({ step: 'worker' }, message);
    }),
    taskList: {
      async carry_identity_run(payload, helpers) {
        const { run_id: runId } = payload as { run_id: string };
        await carryLane(carrier, runId, `${PROCESS_NAME}:${helpers.job.id}`, stop);
      },
    },
  });
}
