// `replay`: judges and applies again what is in quarantine, of one run or of all, of some libraries or of all.
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { addSettings, concludeOperation, idOf, idsOf, judgeOperation, settingsFrom } from './command.js';

const command = new Command('replay')
  .description('judge and apply again what is in quarantine')
  .option('--run <id>', 'only what this run refused')
  .option('--ids <list>', 'only these libraries, as in 1,2,3')
  .option('--json', 'print JSON, as into a pipe');

export const replayCommand = addSettings(command, 'replay', {
  examples: ['identity-sync replay --dry-run', 'identity-sync replay --ids 1,2,3'],
  failed: 'more rows were refused than settled, or it could not go on',
}).action(async (options: { run?: string; ids?: string; json?: true }) => {
  const { DATABASE_URL, DRY_RUN } = await settingsFrom('replay', { ...options });
  const runId = options.run === undefined ? null : idOf('--run', options.run);
  const ids = options.ids === undefined ? null : idsOf('--ids', options.ids);
  const judged = await inTransaction(
    DATABASE_URL,
    { calls: 'replay_quarantined_verdicts', dryRun: DRY_RUN, tells: true },
    async (sql) => {
      const [row] = await sql`
        select report from identity_sync.replay_quarantined_verdicts(run_id => ${runId}, ids => ${ids}) as report`;
      return await judgeOperation(sql, row?.report, { isDryRun: DRY_RUN, json: options.json });
    },
  );
  process.exitCode = concludeOperation(options, DRY_RUN, judged);
});
