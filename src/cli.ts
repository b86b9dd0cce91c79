#!/usr/bin/env -S node --max-semi-space-size=1 --max-old-space-size=1024
// Answers pass through as large strings. With a young generation of 1 MB and a bounded old one they are let go of soon, which
// takes a quarter off the peak of memory and nothing off the speed.
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { Command, CommanderError } from 'commander';
import type { RunReport } from './commands/run.js';
import { describeFailure, log } from './observe/log.js';
import { readSettings, UsageError } from './settings.js';

const OK = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

const program = new Command('identity-sync')
  .description("Keeps the station's library identity tables in step with LML.")
  .exitOverride()
  .configureHelp({ showGlobalOptions: true });

program
  .command('migrate')
  .description('bring the database up to date')
  .action(async () => {
    const { DATABASE_URL } = readSettings(['DATABASE_URL'], {}, process.env);
    const { migrate } = await import('./commands/migrate.js');
    await migrate(DATABASE_URL);
    log.info({ step: 'migrate' }, 'the database is up to date');
  });

program
  .command('run')
  .description('one run in the foreground: plan, ask, apply, report')
  .option('--scope <scope>', 'which rows: due, refresh, recheck, ids')
  .option('--ids <ids>', 'library ids, as in 1,2,3; implies the scope ids')
  .option('--dry-run', 'write nothing, and report what would be written')
  .option('--partition <index/count>', 'a share of the catalogue, as in 0/4')
  .option('--batch-size <rows>', 'rows a call (BATCH_SIZE)')
  .option('--va-batch-size <rows>', 'compilation-shaped rows a call (VA_BATCH_SIZE)')
  .option('--concurrency <calls>', 'calls in flight, over all processes (LML_CONCURRENCY)')
  .option('--timeout-ms <ms>', 'bound of a call (LML_TIMEOUT_MS)')
  .option('--throttle-ms <ms>', 'pause after each call (THROTTLE_MS)')
  .option('--stale-days <days>', 'age at which an identity is due again (STALE_THRESHOLD_DAYS)')
  .option('--unresolved-retry-days <days>', 'age at which an answer in vain is (UNRESOLVED_RETRY_DAYS)')
  .option('--include-null-canonical', 'also rows without a canonical entity (INCLUDE_NULL_CANONICAL)')
  .option('--strict-bands', "refuse a confidence outside its method's band (STRICT_BANDS)")
  .option('--max-tries <tries>', 'how often a call is tried (LML_MAX_TRIES)')
  .option('--deadline-minutes <minutes>', 'when the run ends at the latest (RUN_DEADLINE_MINUTES)')
  .option('--call-budget <calls>', 'calls that the run may make (LML_CALL_BUDGET)')
  .option('--accept-unresolved', 'believe LML where nearly everything comes back unresolved')
  .action(async (options: Record<string, string | true | undefined>) => {
    const [{ RUN_SETTINGS }, { runOnce }] = await Promise.all([
      import('./commands/plan.js'),
      import('./commands/run.js'),
    ]);
    const settings = readSettings(RUN_SETTINGS, flagsOf(options), process.env);
    const which = {
      ...scopeOf(options, settings.RECHECK),
      acceptUnresolved: options.acceptUnresolved === true,
      scheduled: false,
    };
    const { stop, strictlyStop } = stopOnSignals();
    const { report, result } = await runOnce(settings, which, stop, strictlyStop);
    print(result);
    process.exitCode = conclude(report);
  });

program
  .command('worker')
  .description(
    'the production process: carries runs, and plans, tends and tidies by the crontab, until SIGTERM',
  )
  .action(async () => {
    const { WORKER_SETTINGS, work } = await import('./worker/tasks.js');
    const settings = readSettings(WORKER_SETTINGS, {}, process.env);
    const { stop, strictlyStop } = stopOnSignals();
    await work(settings, stop, strictlyStop);
    process.exit(OK);
  });

program
  .command('apply')
  .description('apply a file of verdicts, or what a dry run previewed')
  .argument('[file]', "LML's answer, an array of results or one result; - for standard input")
  .option('--run <id>', 'instead of a file: the answers that this dry run kept')
  .option('--dry-run', 'write nothing, and report what would be written')
  .option('--strict-bands', "refuse a confidence outside its method's band (STRICT_BANDS)")
  .action(async (file: string | undefined, options: { run?: string; dryRun?: true; strictBands?: true }) => {
    if ((file === undefined) === (options.run === undefined))
      throw new UsageError('apply takes a FILE or --run N');
    const settings = readSettings(
      ['DATABASE_URL', 'STRICT_BANDS', 'DRY_RUN'],
      flagsOf({ ...options }),
      process.env,
    );
    const { applyPreview, applyText } = await import('./commands/operate.js');
    const { report, isSuccess } =
      file === undefined
        ? await applyPreview(settings.DATABASE_URL, idOf('--run', options.run), settings.DRY_RUN)
        : await applyText(
            settings.DATABASE_URL,
            await readText(file),
            settings.STRICT_BANDS,
            settings.DRY_RUN,
          );
    print(report);
    process.exitCode = isSuccess ? OK : FAILED;
  });

program
  .command('replay')
  .description('judge and apply again what is in quarantine')
  .option('--run <id>', 'only what this run refused')
  .option('--dry-run', 'write nothing, and report what would be written')
  .action(async (options: { run?: string; dryRun?: true }) => {
    const settings = readSettings(['DATABASE_URL', 'DRY_RUN'], flagsOf({ ...options }), process.env);
    const { replay } = await import('./commands/operate.js');
    const runId = options.run === undefined ? null : idOf('--run', options.run);
    const { report, isSuccess } = await replay(settings.DATABASE_URL, runId, settings.DRY_RUN);
    print(report);
    process.exitCode = isSuccess ? OK : FAILED;
  });

program
  .command('release')
  .description("let go of a library's identity, or of the hold on it; it is due again")
  .argument('<id>', 'the library')
  .requiredOption('--reason <text>', 'why: it is kept in the history')
  .option('--dry-run', 'write nothing, and report what would become of it')
  .action(async (id: string, options: { reason: string; dryRun?: true }) => {
    const { DATABASE_URL, DRY_RUN } = readSettings(
      ['DATABASE_URL', 'DRY_RUN'],
      flagsOf({ ...options }),
      process.env,
    );
    const { release } = await import('./commands/operate.js');
    print(await release(DATABASE_URL, idOf('ID', id), options.reason, DRY_RUN));
  });

program
  .command('demo')
  .description('the whole product on an embedded PostgreSQL, a real catalogue and a stand-in for LML')
  .option('--keep', 'leave the server up until Ctrl-C')
  .action(async (options: { keep?: true }) => {
    const { demo } = await import('./demo/demo.js');
    await demo({ keep: options.keep === true });
  });

const FLAGS = {
  dryRun: 'DRY_RUN',
  batchSize: 'BATCH_SIZE',
  vaBatchSize: 'VA_BATCH_SIZE',
  concurrency: 'LML_CONCURRENCY',
  timeoutMs: 'LML_TIMEOUT_MS',
  throttleMs: 'THROTTLE_MS',
  staleDays: 'STALE_THRESHOLD_DAYS',
  unresolvedRetryDays: 'UNRESOLVED_RETRY_DAYS',
  includeNullCanonical: 'INCLUDE_NULL_CANONICAL',
  strictBands: 'STRICT_BANDS',
  maxTries: 'LML_MAX_TRIES',
  deadlineMinutes: 'RUN_DEADLINE_MINUTES',
  callBudget: 'LML_CALL_BUDGET',
} as const;

/** Names the flags that were given as the settings they stand for. */
function flagsOf(options: Record<string, string | true | undefined>): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const [option, setting] of Object.entries(FLAGS)) {
    if (options[option] !== undefined) flags[setting] = String(options[option]);
  }
  if (typeof options.partition === 'string') {
    const partition = /^(\d{1,4})\/(\d{1,4})$/.exec(options.partition);
    if (!partition)
      throw new UsageError(`--partition is "${options.partition}"; allowed: index/count, as in 0/4`);
    [, flags.PARTITION_INDEX, flags.PARTITION_COUNT] = partition as unknown as [string, string, string];
  }
  return flags;
}

/** Which rows a run asks for: the ids named, or those of a scope. */
function scopeOf(options: Record<string, string | true | undefined>, recheck: boolean) {
  const { ids, scope } = options;
  if (typeof ids === 'string') {
    if (scope !== undefined && scope !== 'ids')
      throw new UsageError('--ids implies --scope ids; leave --scope out');
    if (!/^\d{1,9}(,\d{1,9})*$/.test(ids))
      throw new UsageError(`--ids is "${ids}"; allowed: library ids, as in 1,2,3`);
    return { scope: 'ids', ids: ids.split(',').map(Number) };
  }
  if (scope === 'ids') throw new UsageError('--scope ids needs --ids 1,2,3');
  if (scope !== undefined && !['due', 'refresh', 'recheck'].includes(String(scope))) {
    throw new UsageError(`--scope is "${scope}"; allowed: due, refresh, recheck, ids`);
  }
  return { scope: String(scope ?? (recheck ? 'recheck' : 'due')), ids: null };
}

/** The first Ctrl-C lets calls in flight finish, the second cuts them off. */
function stopOnSignals() {
  const [gently, strictly] = [new AbortController(), new AbortController()];
  const onSignal = (signal: string) => {
    log.info({ step: 'stop' }, `${signal}: finishing the batches in flight; once more to cut them off`);
    (gently.signal.aborted ? strictly : gently).abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return { stop: gently.signal, strictlyStop: strictly.signal };
}

function print(result: unknown): void {
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}

function idOf(name: string, value: string | undefined): string {
  if (!/^\d{1,18}$/.test(value ?? '')) throw new UsageError(`${name} is "${value}"; allowed: a number`);
  return value as string;
}

async function readText(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`FILE is "${file}", and cannot be read: ${describeFailure(error).message}`);
  }
}

/** Says on standard error what an operator should know of a run's end, and finds its exit status. */
function conclude(report: RunReport): number {
  const { run_id, dry_run, outcome, outcome_reason, left, warnings, quarantined } = report;
  for (const warning of warnings) log.warn({ step: 'report', run_id }, warning);
  if (quarantined > 0) {
    log.warn(
      { step: 'report', run_id },
      `${quarantined} rows are in quarantine: select * from identity_sync.quarantine`,
    );
  }
  const how = outcome === null ? 'goes on with the process that opened it' : outcome;
  const summary = `${dry_run ? 'dry run' : 'run'} ${run_id} ${how}${outcome_reason ? `: ${outcome_reason}` : ''}`;
  if (outcome === 'completed') log.info({ step: 'report', run_id }, summary);
  else log.error({ step: 'report', run_id, left }, summary);
  return outcome === 'completed' ? OK : FAILED;
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? OK : WRONG_USAGE;
  } else if (error instanceof UsageError) {
    process.stderr.write(`identity-sync: ${error.message}\n`);
    process.exitCode = WRONG_USAGE;
  } else {
    log.error({ step: 'end', ...describeFailure(error) }, 'identity-sync could not go on');
    // Whatever still holds a socket must not keep a process alive that cannot work.
    process.exit(FAILED);
  }
}
