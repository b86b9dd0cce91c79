// The worker: graphile-worker with our tasks, and in production our crontab.
import { setTimeout as sleep } from 'node:timers/promises';
import { type CronItem, Logger, parseCronItems, type Runner, run as startRunner } from 'graphile-worker';
import { type Carrier, carryLane } from '../carry/lane.js';
import { connectLml } from '../carry/lml.js';
import {
  monitorOf,
  PROCESS_NAME,
  plan,
  RUN_SETTINGS,
  type RunSettings,
  sentrySettings,
  tellEndedRuns,
} from '../commands/plan.js';
import { connectDatabase, type Sql } from '../database/connect.js';
import { knownMigrations } from '../database/migrations.js';
import { retryWhileDisconnected } from '../database/retry.js';
import { log } from '../observe/log.js';
import { type Observer, startSentry } from '../observe/sentry.js';
import type { Settings } from '../settings.js';
import { crontab, longestPauseMinutes } from './crontab.js';

export const WORKER_SETTINGS = [
  ...RUN_SETTINGS,
  'KEEP_DAYS',
  'HEALTH_PORT',
] as const satisfies (keyof Settings)[];

export type WorkerSettings = Pick<Settings, (typeof WORKER_SETTINGS)[number]>;

// A container is killed ten seconds after SIGTERM unless told otherwise.
const SHUTDOWN_MS = 8000;

// What settling and graphile-worker may take beyond the last call.
const STOP_MARGIN_MS = 3000;

// A tick that lay in the queue of a dead worker for hours must not plan a run at some odd time.
const STALE_TICK_MS = 15 * 60_000;

// From a tick to the run that it plans.
const TICK_MARGIN_MINUTES = 5;

/** What lanes carry with, by the settings of a run. */
export function carrierOf(
  settings: RunSettings,
  tools: Pick<Carrier, 'sql' | 'lml' | 'stop' | 'abortNow' | 'observer'>,
): Carrier {
  return {
    ...tools,
    concurrency: settings.LML_CONCURRENCY,
    timeoutMs: settings.LML_TIMEOUT_MS,
    maxTries: settings.LML_MAX_TRIES,
    throttleMs: settings.THROTTLE_MS,
  };
}

/**
 * Starts graphile-worker with as many lanes at once as calls may be in flight; with a crontab it plans, tends and tidies
 * too. Raising the carrier's `stop` lets each lane finish the batch in flight; stopping the runner waits for them.
 */
export async function startWorker(
  databaseUrl: string,
  carrier: Carrier,
  afterLane: () => Promise<void>,
  cron: { items: CronItem[]; tasks: Record<string, () => Promise<unknown>> } = { items: [], tasks: {} },
): Promise<Pick<Runner, 'promise' | 'stop'>> {
  const scheduled = Object.entries(cron.tasks).map(
    ([name, task]) =>
      [name, async (payload: unknown) => (isStale(payload) ? undefined : void (await task()))] as const,
  );
  const lanes = new Set<Promise<void>>();
  const runner = await startRunner({
    connectionString: databaseUrl,
    maxPoolSize: carrier.concurrency + 4,
    // Lanes wait where the fleet's calls are in flight elsewhere, and the crontab's tasks must not wait for lanes.
    concurrency: carrier.concurrency + 2,
    noHandleSignals: true,
    pollInterval: 1000,
    gracefulShutdownAbortTimeout: 60_000,
    // Lanes are enlisted again and again; they must not take the places of the crontab's tasks.
    forbiddenFlags: () => (lanes.size < carrier.concurrency ? null : ['lane']),
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    parsedCronItems: parseCronItems(cron.items),
    logger: new Logger(() => (level, message) => {
      if (level === 'error') log.error({ step: 'worker' }, message);
      else if (level === 'warning') log.warn({ step: 'worker' }, message);
      else log.debug({ step: 'worker' }, message);
    }),
    taskList: {
      async carry_identity_run(payload, helpers) {
        const { run_id: runId } = payload as { run_id: string };
        const lane = carryLane(carrier, runId, `${PROCESS_NAME}:${helpers.job.id}`);
        lanes.add(lane);
        await lane.finally(() => lanes.delete(lane));
        await afterLane();
      },
      ...Object.fromEntries(scheduled),
    },
  });
  return {
    promise: runner.promise,
    async stop() {
      // graphile-worker does not wait until it has told its queue that a job is done: a job that ends while the runner does
      // would stay locked for hours.
      const stopped = Promise.allSettled(lanes)
        .then(() => sleep(50))
        .then(() => runner.stop());
      // Where sessions were cut, a query or graphile-worker itself may wait for them for ever.
      const bound = new AbortController();
      const late = sleep(carrier.timeoutMs + STOP_MARGIN_MS, undefined, { signal: bound.signal }).catch(
        () => {},
      );
      await Promise.race([stopped.finally(() => bound.abort()), late]);
    },
  };
}

function isStale(payload: unknown): boolean {
  const { _cron } = payload as { _cron?: { ts: string } };
  return _cron !== undefined && Date.now() - Date.parse(_cron.ts) > STALE_TICK_MS;
}

/**
 * The production process: carries runs, and by the crontab (in UTC) plans a run of what is due, tends the open ones and
 * tidies up, until SIGTERM. Then no call is begun, and those in flight are finished or given back within eight seconds.
 * It ends by itself only where it cannot work any more, and then by raising.
 */
export async function work(
  settings: WorkerSettings,
  stop: AbortSignal,
  strictlyStop: AbortSignal,
): Promise<void> {
  const sql = connectDatabase(settings.DATABASE_URL, settings.LML_CONCURRENCY * 2 + 2);
  const lml = connectLml(settings.LIBRARY_METADATA_URL, {
    apiKey: settings.LML_API_KEY,
    timeoutMs: settings.LML_TIMEOUT_MS,
  });
  const observer = await startSentry(sentrySettings(settings));
  let health: Awaited<ReturnType<typeof startHealth>> = null;
  const cutOff = new AbortController();
  const carrier = carrierOf(settings, {
    sql,
    lml,
    stop,
    abortNow: AbortSignal.any([strictlyStop, cutOff.signal]),
    observer: {
      ...observer,
      callEnded(run, call) {
        health?.observeCall(call.latencyMs, call.status);
        observer.callEnded(run, call);
      },
    },
  });
  const tellEnded = () => tellEndedRuns(sql, observer, settings);
  const tend = () =>
    sql`select from identity_sync.rescue_identity_runs(lanes => ${settings.LML_CONCURRENCY})`;
  try {
    health = await startHealth(settings);
    // Somebody has started this process, perhaps with another key: it is to be tried.
    await sql`select from identity_sync.lift_planning_hold(name => 'key_refused')`;
    await tend();
    const runner = await startWorker(settings.DATABASE_URL, carrier, tellEnded, {
      items: crontab(settings.PLAN_CRON),
      tasks: {
        plan_identity_run: () => planScheduled(sql, settings, observer),
        rescue_identity_runs: () =>
          retryWhileDisconnected(tend)
            .then(tellEnded)
            .then(() => sql`select from identity_sync.analyze_filled_tables()`),
        prune_identity_sync: () =>
          sql`select from identity_sync.prune_identity_sync(keep_days => ${settings.KEEP_DAYS})`,
      },
    });
    log.info({ step: 'worker', plan_cron: settings.PLAN_CRON }, 'the worker is up');

    const outcome = await Promise.race([
      untilAborted(stop).then(() => 'told' as const),
      runner.promise.then(() => 'ended' as const),
      tendUntilDatabaseIsGone(() => tend().then(tellEnded), stop),
    ]);
    if (outcome === 'ended' && !stop.aborted) throw new Error('graphile-worker has ended');

    const timer = setTimeout(() => cutOff.abort(), SHUTDOWN_MS).unref();
    await Promise.race([runner.stop(), sleep(SHUTDOWN_MS + 4000, undefined, { ref: false })]);
    clearTimeout(timer);
    log.info({ step: 'worker' }, 'the worker is down');
  } finally {
    const closed = Promise.all([observer.close(), health?.close(), lml.close(), sql.end({ timeout: 2 })]);
    await Promise.race([closed, sleep(3000, undefined, { ref: false })]);
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/**
 * Tends every few seconds, so that what the dead held is taken up as soon as its lease ends. Rejects once the database has
 * been away for a minute: graphile-worker would try again for ever, looking alive.
 */
async function tendUntilDatabaseIsGone(tend: () => Promise<unknown>, stop: AbortSignal): Promise<never> {
  for (;;) {
    await retryWhileDisconnected(tend);
    await sleep(5000, undefined, { signal: stop, ref: false }).catch(() =>
      untilAborted(new AbortController().signal),
    );
  }
}

/** Serves the probes where a port is set. */
async function startHealth(settings: WorkerSettings) {
  if (settings.HEALTH_PORT === undefined) return null;
  const { connectProbes, startHealthServer } = await import('../observe/health-server.js');
  const probes = connectProbes(settings.DATABASE_URL, {
    migrations: await knownMigrations(),
    // A run may succeed at once, and the next only just before its deadline.
    maxAgeHours:
      (longestPauseMinutes(settings.PLAN_CRON) + settings.RUN_DEADLINE_MINUTES + TICK_MARGIN_MINUTES) / 60,
    timeoutMs: settings.LML_TIMEOUT_MS,
    throttleMs: settings.THROTTLE_MS,
    staleDays: settings.STALE_THRESHOLD_DAYS,
    unresolvedRetryDays: settings.UNRESOLVED_RETRY_DAYS,
    includeNullCanonical: settings.INCLUDE_NULL_CANONICAL,
  });
  const server = await startHealthServer(settings.HEALTH_PORT, probes);
  return {
    observeCall: probes.observeCall,
    async close() {
      await server.close();
      await probes.close();
    },
  };
}

async function planScheduled(sql: Sql, settings: WorkerSettings, observer: Observer): Promise<void> {
  const which = { scope: 'due', ids: null, acceptUnresolved: false, scheduled: true };
  const runId = await plan(sql, settings, which);
  if (runId === null) {
    observer.checkedIn(null, { status: 'error', ...monitorOf(settings) });
    log.error(
      { step: 'plan' },
      'nothing is planned until a person has acted: select * from identity_sync.planning_hold',
    );
    return;
  }
  const [progress] = await sql<[{ trace_id: string }]>`
    select trace_id from identity_sync.identity_run_progress(run_id => ${runId})`;
  observer.checkedIn(
    { runId, traceId: progress.trace_id },
    { status: 'in_progress', ...monitorOf(settings) },
  );
  log.info({ step: 'plan', run_id: Number(runId) }, 'planned');
}
