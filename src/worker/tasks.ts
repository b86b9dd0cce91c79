// The worker: graphile-worker with our tasks, and in production our crontab.
import { EventEmitter, setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, type ParsedCronItem, type Runner, run as startRunner } from 'graphile-worker';
import { type Carrier, carryLane } from '../carry/lane.js';
import { lanePatienceMs } from '../carry/lease.js';
import { connectLml } from '../carry/lml.js';
import { connectDatabase, type Notice, type Sql } from '../database/connect.js';
import { dropLines } from '../database/line.js';
import { knownMigrations } from '../database/migrations.js';
import { connectPool } from '../database/pool.js';
import { assertFit } from '../database/ready.js';
import { isAway, pause, retryWhileDisconnected } from '../database/retry.js';
import { createAlerts } from '../observe/alerts.js';
import { monitorOf, reportEndedRuns } from '../observe/ended-runs.js';
import { log } from '../observe/log.js';
import { databaseIsAway } from '../observe/outage.js';
import { type Observer, startSentry } from '../observe/sentry.js';
import type { SettingsOf } from '../settings.js';
import { VERSION } from '../version.js';
import { crontab, longestPauseMinutes } from './crontab.js';
import { describePlan, PROCESS_NAME, plan, type RunRequest } from './plan.js';

// By default a container is killed ten seconds after SIGTERM.
const SHUTDOWN_MS = 8000;

// How long writing the last answer and graphile-worker's own end may take.
const STOP_MARGIN_MS = 3000;

// A tick that lay in a dead worker's queue for hours must not plan a run at an odd time.
const STALE_TICK_MS = 15 * 60_000;

// A dead process's batches are claimed this long after their leases have ended.
const RESCUE_MS = 5000;

// From a tick to the run that it plans.
const TICK_MARGIN_MINUTES = 5;

/** What a lane works with, from the settings of a run. */
export function carrierOf(
  settings: SettingsOf<'run'>,
  tools: Pick<Carrier, 'sql' | 'lml' | 'stop' | 'abortNow' | 'observer'>,
): Carrier {
  // Each lane listens, and Node takes more than ten listeners for a leak.
  setMaxListeners(0, tools.stop, tools.abortNow);
  return {
    ...tools,
    concurrency: settings.LML_CONCURRENCY,
    timeoutMs: settings.LML_TIMEOUT_MS,
    maxTries: settings.LML_MAX_TRIES,
    throttleMs: settings.THROTTLE_MS,
  };
}

/**
 * Starts graphile-worker with as many lanes at once as calls may be in flight, and with the tasks of a crontab where there
 * is one. Raising the carrier's `stop` lets each lane finish its batch in flight. Stopping the runner waits for the lanes.
 */
export async function startWorker(
  databaseUrl: string,
  carrier: Carrier,
  afterLane: () => Promise<void>,
  cron: { items: ParsedCronItem[]; tasks: Record<string, () => Promise<unknown>> } = { items: [], tasks: {} },
): Promise<Pick<Runner, 'promise' | 'stop'>> {
  const scheduled = Object.entries(cron.tasks).map(
    ([name, task]) =>
      [name, async (payload: unknown) => (isStale(payload) ? undefined : void (await task()))] as const,
  );
  const lanes = new Set<Promise<void>>();
  const pgPool = connectPool(databaseUrl, carrier.concurrency + 4, lanePatienceMs(carrier.timeoutMs));
  const faults: unknown[] = [];
  const runner = await startRunner({
    pgPool,
    events: new EventEmitter().on('pool:fatalError', ({ error }) => faults.push(error)),
    // Lanes wait while other processes use up the fleet's calls. The crontab's tasks must not wait for lanes.
    concurrency: carrier.concurrency + 2,
    noHandleSignals: true,
    pollInterval: 1000,
    gracefulShutdownAbortTimeout: 60_000,
    // Lanes are enqueued again and again. They must not take the places of the crontab's tasks.
    forbiddenFlags: () => (lanes.size < carrier.concurrency ? null : ['lane']),
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    parsedCronItems: cron.items,
    logger: new Logger(() => (level, message, meta) => {
      const error = meta?.error ?? { message };
      if (isAway(error)) {
        databaseIsAway(error);
        log.debug({ step: 'worker' }, message);
      } else if (level === 'error') log.error({ step: 'worker' }, message);
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
  let hasEnded = false;
  const promise = runner.promise.finally(() => {
    hasEnded = true;
  });
  // Where graphile-worker gives up, it says so, and its event says why.
  const ended = promise
    .catch((error) => Promise.reject(faults[0] ?? error))
    .then(() => {
      if (faults.length > 0) throw faults[0];
    });
  ended.catch(() => {});
  return {
    promise: ended,
    async stop() {
      // graphile-worker does not wait until its queue knows that a job is done. A job that ends together with the runner would
      // stay locked for hours.
      const stopped = Promise.allSettled(lanes)
        .then(() => sleep(50))
        .then(() => (hasEnded ? undefined : runner.stop()))
        .catch(() => {})
        .then(() => pgPool.end());
      // After sessions were cut, a query or graphile-worker itself may wait for them for ever.
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
 * The production process: carries runs and does the crontab's tasks until SIGTERM. From then on it begins no call, and
 * within eight seconds it finishes the calls in flight or returns their batches. It throws when it cannot work any more.
 */
export async function work(
  settings: SettingsOf<'worker'>,
  stop: AbortSignal,
  abortNow: AbortSignal,
): Promise<void> {
  const notices: Notice[] = [];
  // Planning and pruning may take long; a call of a lane may not.
  const sql = connectDatabase(settings.DATABASE_URL, 2, { notices });
  const lanesSql = connectDatabase(settings.DATABASE_URL, settings.LML_CONCURRENCY * 2 + 1, {
    patienceMs: lanePatienceMs(settings.LML_TIMEOUT_MS),
  });
  const lml = connectLml(settings.LIBRARY_METADATA_URL, {
    apiKey: settings.LML_API_KEY,
    timeoutMs: settings.LML_TIMEOUT_MS,
  });
  const observer = await startSentry(settings);
  let health: Awaited<ReturnType<typeof startHealth>> = null;
  const cutOff = new AbortController();
  const carrier = carrierOf(settings, {
    sql: lanesSql,
    lml,
    stop,
    abortNow: AbortSignal.any([abortNow, cutOff.signal]),
    observer: {
      ...observer,
      callEnded(run, call) {
        health?.observeCall(call.latencyMs, call.status);
        observer.callEnded(run, call);
      },
    },
  });
  const alerts = createAlerts(settings.ALERT_WEBHOOK_URL);
  const reportEnded = () => {
    // Nothing waits for a webhook.
    void alerts.send(lanesSql);
    return reportEndedRuns(lanesSql, observer, settings);
  };
  const rescue = () =>
    lanesSql`
      select from identity_sync.rescue_identity_runs(
        lanes => ${settings.LML_CONCURRENCY}, worker => ${PROCESS_NAME}, version => ${VERSION},
        plan_cron => ${settings.PLAN_CRON})`;
  try {
    await assertFit(sql, ['plan_identity_run']);
    health = await startHealth(settings);
    // This process may have been started with another key, so the key is tried again.
    await sql`select from identity_sync.resume_identity_planning(name => 'key_refused')`;
    await rescue();
    const runner = await startWorker(settings.DATABASE_URL, carrier, reportEnded, {
      items: crontab(settings.PLAN_CRON),
      tasks: {
        plan_identity_run: () => planScheduled(sql, settings, observer, notices),
        rescue_identity_runs: () =>
          retryWhileDisconnected(rescue)
            .then(reportEnded)
            .then(() => sql`select from identity_sync.analyze_filled_tables()`),
        prune_identity_sync: () =>
          sql`select from identity_sync.prune_identity_sync(keep_days => ${settings.KEEP_DAYS})`,
      },
    });
    log.info({ step: 'worker', plan_cron: settings.PLAN_CRON }, 'the worker is up');

    const outcome = await Promise.race([
      untilAborted(stop).then(() => 'stopped' as const),
      runner.promise.then(() => 'ended' as const),
      rescueUntilDatabaseIsGone(() => rescue().then(reportEnded), stop),
    ]);
    if (outcome === 'ended' && !stop.aborted) throw new Error('graphile-worker has ended');

    const timer = setTimeout(() => cutOff.abort(), SHUTDOWN_MS).unref();
    await Promise.race([runner.stop(), sleep(SHUTDOWN_MS + 4000, undefined, { ref: false })]);
    clearTimeout(timer);
    log.info({ step: 'worker' }, 'the worker is down');
  } finally {
    const told = alerts.send(lanesSql).then(() => lanesSql.end());
    const closed = Promise.all([observer.close(), health?.close(), lml.close(), told, sql.end()]);
    await Promise.race([closed, sleep(3000, undefined, { ref: false })]);
    dropLines();
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/**
 * Rescues runs again and again until `stop` is aborted. Rejects once the database has been away for a minute:
 * graphile-worker would retry for ever and look alive.
 */
async function rescueUntilDatabaseIsGone(rescue: () => Promise<unknown>, stop: AbortSignal): Promise<never> {
  while (!stop.aborted) {
    await retryWhileDisconnected(rescue);
    await pause(RESCUE_MS, stop);
  }
  return await new Promise(() => {});
}

/** Serves the probes where a port is set. */
async function startHealth(settings: SettingsOf<'worker'>) {
  if (settings.HEALTH_PORT === undefined) return null;
  const [{ connectProbes }, { startHealthServer }] = await Promise.all([
    import('../observe/probes.js'),
    import('../observe/health-server.js'),
  ]);
  const probes = connectProbes(settings.DATABASE_URL, {
    ...settings,
    migrations: await knownMigrations(),
    // One run may succeed at once, and the next one just before its deadline.
    maxAgeHours:
      (longestPauseMinutes(settings.PLAN_CRON) + settings.RUN_DEADLINE_MINUTES + TICK_MARGIN_MINUTES) / 60,
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

async function planScheduled(
  sql: Sql,
  settings: SettingsOf<'worker'>,
  observer: Observer,
  notices: Notice[],
): Promise<void> {
  const request: RunRequest = { scope: 'due', ids: null, accept: [], scheduled: true };
  const runId = await plan(sql, settings, request, notices);
  if (runId === null) {
    observer.checkedIn(null, { status: 'error', ...monitorOf(settings) });
    log.error({ step: 'plan' }, 'nothing is planned until a person has acted: identity-sync status says how');
    return;
  }
  const [progress] = await sql<[{ trace_id: string; planned: number }]>`
    select trace_id, planned from identity_sync.identity_run_progress(run_id => ${runId})`;
  observer.checkedIn(
    { runId, traceId: progress.trace_id },
    { status: 'in_progress', ...monitorOf(settings) },
  );
  log.info(
    { step: 'plan', run_id: Number(runId), rows: progress.planned },
    describePlan(runId, progress.planned),
  );
}
