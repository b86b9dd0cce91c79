// `run`: one run in the foreground. It ends with 0 where the run completed, and else with 1.
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { lanePatienceMs } from '../carry/lease.js';
import { connectDatabase, type Notice, type Sql } from '../database/connect.js';
import { dropLines } from '../database/line.js';
import { assertFit } from '../database/ready.js';
import { retryWhileDisconnected } from '../database/retry.js';
import { inTransaction } from '../database/transaction.js';
import { createAlerts } from '../observe/alerts.js';
import { logRunEnd, logWarnings, type RunReport, reportEndedRuns } from '../observe/ended-runs.js';
import { log, logsText } from '../observe/log.js';
import type { RunProgress } from '../observe/progress.js';
import { type Observer, startSentry } from '../observe/sentry.js';
import { columnsOf, counted } from '../screens/format.js';
import { runEndScreen } from '../screens/run-end.js';
import { type SettingsOf, UsageError } from '../settings.js';
import { VERSION } from '../version.js';
import { describePlan, PROCESS_NAME, plan, type RunRequest } from '../worker/plan.js';
import {
  addSettings,
  FAILED,
  idsIn,
  idsOf,
  isForPerson,
  logStart,
  OK,
  previewOf,
  settingsFrom,
  show,
  stopOnSignals,
} from './command.js';

const POLL_MS = 250;

// How long a run may take to write its last answers, once its calls are over.
const STOP_MS = 15_000;

// This process may be the only one left to free the leases of dead processes.
const RESCUE_MS = 10_000;

interface RunOptions {
  scope?: string;
  ids?: string;
  idsFrom?: string;
  json?: true;
  accept?: string[];
  acceptUnresolved?: true;
}

const command = new Command('run')
  .description('one run in the foreground: plan, ask, apply, report')
  .option(
    '--scope <scope>',
    'which rows: due (the default), refresh (all with a canonical entity, due or not), recheck (compilations that were asked before), ids',
  )
  .option('--ids <ids>', 'library ids, as in 1,2,3; implies the scope ids')
  .option('--ids-from <file>', 'the same from a file; - for standard input')
  .addOption(
    new Option('--accept <gauge...>', 'what does not stop the run, though the brake would').choices([
      'unresolved',
      'refused',
      'changed',
    ]),
  )
  .option('--accept-unresolved', 'the same as --accept unresolved')
  .option('--json', 'print JSON, as into a pipe');

export const runCommand = addSettings(command, 'run', {
  examples: [
    'identity-sync run --dry-run',
    'identity-sync run --ids 1,2,3',
    'psql -Atc "select id from …" | identity-sync run --ids-from -',
  ],
  failed: 'a batch failed, the run was stopped, or more rows were refused than settled',
}).action(async (options: RunOptions) => {
  const settings = await settingsFrom('run', { ...options });
  const request = {
    ...(await rowsOf(options, settings.RECHECK)),
    accept: [...(options.accept ?? []), ...(options.acceptUnresolved ? ['unresolved'] : [])],
    scheduled: false,
  };
  logStart('run', settings);
  const { stop, abortNow } = stopOnSignals(settings.LML_TIMEOUT_MS + STOP_MS);
  const { report, result } = await runOnce(settings, request, stop, abortNow);
  show(options, result, () => runEndScreen(report, columnsOf(process.stdout)));
  // What a person has just read in words is not said again.
  if (report.dry_run && report.outcome === 'completed' && report.scanned > 0 && isForPerson(options)) {
    const runId = String(report.run_id);
    const preview = await inTransaction(
      settings.DATABASE_URL,
      { calls: 'identity_run_changes', dryRun: true },
      (sql) => previewOf(sql, runId, `identity-sync diff --run ${runId}`),
    );
    process.stdout.write(`${preview.join('\n')}\n`);
  }
  const isSaid = process.stdout.isTTY && !options.json && logsText();
  (isSaid ? logWarnings : logRunEnd)(report);
  process.exitCode = report.outcome === 'completed' ? OK : FAILED;
});

/** Which rows a run takes: the ids that are named, or those of a scope. */
async function rowsOf(
  { ids, idsFrom, scope }: RunOptions,
  recheck: boolean,
): Promise<Pick<RunRequest, 'scope' | 'ids'>> {
  if (ids !== undefined || idsFrom !== undefined) {
    if (ids !== undefined && idsFrom !== undefined) throw new UsageError('run takes --ids or --ids-from');
    if (scope !== undefined && scope !== 'ids')
      throw new UsageError(
        `${ids === undefined ? '--ids-from' : '--ids'} implies --scope ids; leave --scope out`,
      );
    return {
      scope: 'ids',
      ids: ids === undefined ? await idsIn('--ids-from', idsFrom!) : idsOf('--ids', ids),
    };
  }
  if (scope === 'ids') throw new UsageError('--scope ids needs --ids 1,2,3 or --ids-from FILE');
  if (scope !== undefined && !['due', 'refresh', 'recheck'].includes(scope)) {
    throw new UsageError(`--scope is "${scope}"; allowed: due, refresh, recheck, ids`);
  }
  return { scope: scope ?? (recheck ? 'recheck' : 'due'), ids: null };
}

/**
 * One run in the foreground: plans it, or joins the same run where it is open, and carries its batches until it is over.
 * Returns its report, and the result to print, which has a shape of its own for a dry run. Raising `stop` finishes the
 * batches in flight and leaves the rest due; `abortNow` aborts those too and returns them.
 */
export async function runOnce(
  settings: SettingsOf<'run'>,
  request: RunRequest,
  stop: AbortSignal,
  abortNow: AbortSignal,
): Promise<{ report: RunReport; result: unknown }> {
  const notices: Notice[] = [];
  const planner = connectDatabase(settings.DATABASE_URL, 1, { notices });
  // Two sessions a lane, for a claim while an answer is written, and one to follow the run.
  const lanes = connectDatabase(settings.DATABASE_URL, settings.LML_CONCURRENCY * 2 + 1, {
    patienceMs: lanePatienceMs(settings.LML_TIMEOUT_MS),
  });
  let sql = planner;
  const observer = await startSentry(settings);
  let followed = null as number | null;
  try {
    await assertFit(sql, ['plan_identity_run']);
    const runId = (await plan(sql, settings, request, notices)) as string;
    const opened = await reportOf(sql, runId);
    followed = opened.run_id;
    log.info(
      { step: 'plan', run_id: opened.run_id, rows: opened.planned, batches: opened.batches },
      describePlan(opened.run_id, opened.planned, opened.batches),
    );
    if (opened.held_by_others > 0) {
      const more = opened.held_by_others > opened.held_ids.length ? ', …' : '';
      log.warn(
        { step: 'plan', run_id: opened.run_id },
        `${counted(opened.held_by_others, 'row')} left to another open run (${opened.held_by_runs.join(', ')}): ${opened.held_ids.join(',')}${more}`,
      );
    }
    if (opened.finished_at !== null) return await resultOf(sql, opened);

    // A run may take hours, and the session that planned it may be dead by its end.
    sql = lanes;
    return await resultOf(sql, await carry(settings, { sql, observer, opened, stop, abortNow }));
  } finally {
    // A run that was not begun has just said why, and this database may be none of ours.
    if (followed !== null) {
      await reportEndedRuns(sql, observer, settings, followed);
      await createAlerts(settings.ALERT_WEBHOOK_URL).send(sql);
    }
    await observer.close();
    await Promise.all([planner.end(), lanes.end()]);
    dropLines();
  }
}

/**
 * Carries an open run, as a worker does, until it is over, and returns its report. What a worker needs is loaded here,
 * because it would double the time and memory of a run with nothing due.
 */
async function carry(
  settings: SettingsOf<'run'>,
  tools: { sql: Sql; observer: Observer; opened: RunReport; stop: AbortSignal; abortNow: AbortSignal },
): Promise<RunReport> {
  const { sql, observer, opened, stop, abortNow } = tools;
  const [{ connectLml }, { carrierOf, startWorker }, { startProgress }] = await Promise.all([
    import('../carry/lml.js'),
    import('../worker/tasks.js'),
    import('../observe/progress.js'),
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
      abortNow,
      observer,
    });
    const laneEnds = new EventEmitter();
    const worker = await startWorker(settings.DATABASE_URL, carrier, async () => {
      laneEnds.emit('end');
    });
    const progress = startProgress(opened.run_id);
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

/** Watches a run until it is over, or until it was stopped and none of its calls is in flight. */
async function follow(
  runId: string,
  by: {
    sql: Sql;
    lanes: number;
    worker: Promise<void>;
    laneEnds: EventEmitter;
    stop: AbortSignal;
    show: (now: RunProgress) => void;
  },
): Promise<RunReport> {
  const { sql, worker, stop } = by;
  let workerEnded = false;
  const ended = worker.finally(() => {
    workerEnded = true;
  });
  ended.catch(() => {});
  let stopped = false;
  let rescuedAt = performance.now();
  for (;;) {
    const [progress] = await retryWhileDisconnected(
      () => sql<[RunProgress & { finished_at: Date | null }]>`
        select planned, done, failed, finished_at, waits_for, waits_until
        from identity_sync.identity_run_progress(run_id => ${runId}, carried_by => ${PROCESS_NAME})`,
    );
    by.show(progress);
    if (progress.finished_at !== null) return await reportOf(sql, runId);
    if (workerEnded)
      await ended.then(() => Promise.reject(new Error('graphile-worker ended before the run did')));
    if (stop.aborted && !stopped) {
      stopped = true;
      const [row] = await sql<[{ stopped: boolean }]>`
        select stopped from identity_sync.stop_identity_run(
          run_id => ${runId}, reason => 'stopped by hand', opened_by => ${PROCESS_NAME}) as stopped`;
      // A run that another process opened goes on without this one.
      if (!row.stopped) return await reportOf(sql, runId);
    } else if (performance.now() - rescuedAt > RESCUE_MS) {
      rescuedAt = performance.now();
      await retryWhileDisconnected(
        () => sql`
          select from identity_sync.rescue_identity_runs(
            lanes => ${by.lanes}, worker => ${PROCESS_NAME}, version => ${VERSION})`,
      );
      await retryWhileDisconnected(() => sql`select from identity_sync.analyze_filled_tables()`);
    }
    // The last lane to end has ended the run, so its end is not left to the next poll.
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
