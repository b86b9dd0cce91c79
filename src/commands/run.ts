import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectDatabase, type Sql } from '../database/connect.js';
import { retryWhileDisconnected } from '../database/retry.js';
import { log } from '../observe/log.js';
import { startProgress } from '../observe/progress.js';
import { type Observer, startSentry } from '../observe/sentry.js';
import { PROCESS_NAME, plan, type RunSettings, sentrySettings, tellEndedRuns, type Which } from './plan.js';

/** The report of a run as identity_run_report makes it: these are the keys that the command line looks at. */
export interface RunReport {
  run_id: number;
  dry_run: boolean;
  planned: number;
  scanned: number;
  rows_resolved: number;
  rows_resolved_compilation: number;
  rows_unresolved: number;
  rows_skipped: Record<string, number>;
  identity: Record<string, number>;
  source: Record<string, number>;
  compilation_track: Record<string, number>;
  left: number;
  held_by_others: number;
  held_ids: number[];
  batches: number;
  failed_batches: number;
  finished_at: string | null;
  outcome: 'completed' | 'failed' | 'stopped' | null;
  outcome_reason: string | null;
  warnings: string[];
  quarantined: number;
}

const POLL_MS = 250;

// Nobody else may be there to free the leases of the dead.
const TEND_MS = 10_000;

/**
 * One run in the foreground: plans it, or joins the same run where it is open, carries its batches until it is over, and
 * returns its report, and the result to print, which for a dry run has a shape of its own. Raising `stop` finishes the
 * batches in flight and leaves the rest due; `strictlyStop` cuts even those off and gives them back.
 */
export async function runOnce(
  settings: RunSettings,
  which: Which,
  stop: AbortSignal,
  strictlyStop: AbortSignal,
): Promise<{ report: RunReport; result: unknown }> {
  const sql = connectDatabase(settings.DATABASE_URL, settings.LML_CONCURRENCY * 2 + 1);
  const observer = await startSentry(sentrySettings(settings));
  try {
    const runId = (await plan(sql, settings, which)) as string;
    const opened = await reportOf(sql, runId);
    log.info(
      { step: 'plan', run_id: opened.run_id, rows: opened.planned, batches: opened.batches },
      'planned',
    );
    if (opened.held_by_others > 0) {
      const more = opened.held_by_others > opened.held_ids.length ? ', …' : '';
      log.warn(
        { step: 'plan', run_id: opened.run_id },
        `${opened.held_by_others} rows are left to another open run: ${opened.held_ids.join(',')}${more}`,
      );
    }
    if (opened.finished_at !== null) return await resultOf(sql, opened);

    return await resultOf(sql, await carry(settings, { sql, observer, opened, stop, strictlyStop }));
  } finally {
    await tellEndedRuns(sql, observer, settings);
    await observer.close();
    await sql.end({ timeout: 5 });
  }
}

/**
 * Carries an open run, as a worker does, until it is over, and returns its report. What a worker needs is loaded here, since
 * a run that has nothing to ask would pay for it with half its time and memory.
 */
async function carry(
  settings: RunSettings,
  tools: { sql: Sql; observer: Observer; opened: RunReport; stop: AbortSignal; strictlyStop: AbortSignal },
): Promise<RunReport> {
  const { sql, observer, opened, stop, strictlyStop } = tools;
  const [{ connectLml }, { carrierOf, startWorker }] = await Promise.all([
    import('../carry/lml.js'),
    import('../worker/tasks.js'),
  ]);
  const lml = connectLml(settings.LIBRARY_METADATA_URL, {
    apiKey: settings.LML_API_KEY,
    timeoutMs: settings.LML_TIMEOUT_MS,
  });
  try {
    const over = new AbortController();
    const carrier = carrierOf(settings, {
      sql,
      lml,
      stop: AbortSignal.any([stop, over.signal]),
      abortNow: strictlyStop,
      observer,
    });
    const laneEnds = new EventEmitter();
    const worker = await startWorker(settings.DATABASE_URL, carrier, async () => {
      laneEnds.emit('end');
    });
    const progress = startProgress(String(opened.run_id), opened.planned);
    try {
      return await follow(String(opened.run_id), {
        sql,
        lanes: carrier.concurrency,
        worker: worker.promise,
        laneEnds,
        stop,
        show: progress.show,
      });
    } finally {
      progress.end();
      over.abort();
      await worker.stop();
    }
  } finally {
    await lml.close();
  }
}

/** Watches a run until it is over, or until it is told to stop and nothing of it is in flight any more. */
async function follow(
  runId: string,
  by: {
    sql: Sql;
    lanes: number;
    worker: Promise<void>;
    laneEnds: EventEmitter;
    stop: AbortSignal;
    show: (asked: number) => void;
  },
): Promise<RunReport> {
  const { sql, worker, stop } = by;
  let workerEnded = false;
  const ended = worker.finally(() => {
    workerEnded = true;
  });
  ended.catch(() => {});
  let told = false;
  let tendedAt = performance.now();
  for (;;) {
    const [progress] = await retryWhileDisconnected(
      () => sql<[{ done: number; finished_at: Date | null }]>`
        select done, finished_at from identity_sync.identity_run_progress(run_id => ${runId})`,
    );
    by.show(progress.done);
    if (progress.finished_at !== null) return await reportOf(sql, runId);
    if (workerEnded)
      await ended.then(() => Promise.reject(new Error('graphile-worker ended before the run did')));
    if (stop.aborted && !told) {
      told = true;
      const [row] = await sql<[{ stopped: boolean }]>`
        select stopped from identity_sync.stop_identity_run(
          run_id => ${runId}, reason => 'stopped by hand', opened_by => ${PROCESS_NAME}) as stopped`;
      // Somebody else's run goes on without this process.
      if (!row.stopped) return await reportOf(sql, runId);
    } else if (performance.now() - tendedAt > TEND_MS) {
      tendedAt = performance.now();
      await retryWhileDisconnected(
        () => sql`select from identity_sync.rescue_identity_runs(lanes => ${by.lanes})`,
      );
      await retryWhileDisconnected(() => sql`select from identity_sync.analyze_filled_tables()`);
    }
    // The lane that ends last has ended the run: nobody waits for the next look.
    const wake = new AbortController();
    const { signal } = wake;
    const events = [
      sleep(POLL_MS, null, { signal }),
      once(by.laneEnds, 'end', { signal }),
      once(stop, 'abort', { signal }),
    ];
    await Promise.race([...events, ended].map((event) => event.catch(() => {})));
    wake.abort();
  }
}

async function reportOf(sql: Sql, runId: string): Promise<RunReport> {
  const [row] = await sql<[{ report: RunReport }]>`
    select report from identity_sync.identity_run_report(run_id => ${runId}) as report`;
  return row.report;
}

async function resultOf(sql: Sql, report: RunReport): Promise<{ report: RunReport; result: unknown }> {
  if (!report.dry_run) return { report, result: report };
  const [row] = await sql<[{ result: unknown }]>`
    select result from identity_sync.identity_dry_run_report(report => ${JSON.stringify(report)}::text::jsonb) as result`;
  return { report, result: row.result };
}
