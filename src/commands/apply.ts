// `apply`: a file of verdicts as a repair by hand, or what a dry run previewed.
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { type SettingsOf, UsageError } from '../settings.js';
import {
  addSettings,
  concludeOperation,
  idOf,
  idsOf,
  judgeOperation,
  readText,
  settingsFrom,
} from './command.js';

const command = new Command('apply')
  .description('apply a file of verdicts, or what a dry run previewed')
  .argument('[file]', "LML's answer, an array of results or one result; - for standard input")
  .option('--run <id>', 'instead of a file: the answers that this dry run kept')
  .option('--ids <ids>', 'of a dry run only these libraries, as in 1,2,3')
  .option('--json', 'print JSON, as into a pipe');

interface Options {
  run?: string;
  ids?: string;
  json?: true;
}

export const applyCommand = addSettings(command, 'apply', {
  examples: ['identity-sync apply fix.json --dry-run', 'identity-sync apply --run 212 --ids 101,102'],
  failed: 'more rows were refused than settled, or it could not go on',
}).action(async (file: string | undefined, options: Options) => {
  if ((file === undefined) === (options.run === undefined))
    throw new UsageError('apply takes a FILE or --run N');
  if (options.ids !== undefined && options.run === undefined)
    throw new UsageError('--ids needs --run N: a file is applied whole');
  const ids = options.ids === undefined ? null : idsOf('--ids', options.ids);
  const settings = await settingsFrom('apply', { ...options });
  const judged =
    options.run === undefined
      ? await applyText(settings, options, await readText('FILE', file as string))
      : await applyPreview(settings, options, idOf('--run', options.run), ids);
  process.exitCode = concludeOperation(options, settings.DRY_RUN, judged);
});

/** Applies a text of verdicts. The report of a dry run has a shape of its own. */
function applyText(settings: SettingsOf<'apply'>, { json }: Options, body: string) {
  const { DATABASE_URL, DRY_RUN: dryRun, STRICT_BANDS: strictBands } = settings;
  return inTransaction(
    DATABASE_URL,
    { calls: 'apply_identity_response', dryRun, tells: true },
    async (sql) => {
      const [row] = dryRun
        ? await sql`
          select report from identity_sync.identity_dry_run_report(
            report => identity_sync.apply_identity_response(
              body => ${body}, requested => null, strict_bands => ${strictBands})) as report`
        : await sql`
          select report from identity_sync.apply_identity_response(
            body => ${body}, requested => null, strict_bands => ${strictBands}) as report`;
      return await judgeOperation(sql, row?.report, { isDryRun: dryRun, json });
    },
  );
}

function applyPreview(
  { DATABASE_URL, DRY_RUN: isDryRun }: SettingsOf<'apply'>,
  { json }: Options,
  runId: string,
  ids: number[] | null,
) {
  return inTransaction(
    DATABASE_URL,
    { calls: 'apply_identity_preview', dryRun: isDryRun, tells: true },
    async (sql) => {
      const [row] = await sql`
        select report from identity_sync.apply_identity_preview(run_id => ${runId}, ids => ${ids}) as report`;
      const all = `identity-sync diff --run ${runId}`;
      return await judgeOperation(sql, row?.report, { isDryRun, json, all });
    },
  );
}
