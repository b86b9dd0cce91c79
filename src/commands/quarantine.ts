// `quarantine`: what was refused and is still open.
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { columnsOf } from '../screens/format.js';
import { type QuarantineEntry, quarantineScreen } from '../screens/quarantine.js';
import { addSettings, idOf, idsOf, settingsFrom, show } from './command.js';

const command = new Command('quarantine')
  .description('what was refused and is still open: field, value, reason, age')
  .option('--run <id>', 'only what this run refused')
  .option('--ids <ids>', 'only these libraries, as in 1,2,3')
  .option('--json', 'print JSON, as into a pipe');

interface Options {
  run?: string;
  ids?: string;
  json?: true;
}

export const quarantineCommand = addSettings(command, 'quarantine', {
  examples: ['identity-sync quarantine', 'identity-sync quarantine --run 212 --json'],
}).action(async (options: Options) => {
  const { DATABASE_URL } = await settingsFrom('quarantine', { ...options });
  const runId = options.run === undefined ? null : idOf('--run', options.run);
  const ids = options.ids === undefined ? null : idsOf('--ids', options.ids);
  const entries = await inTransaction(
    DATABASE_URL,
    { calls: 'identity_quarantine', dryRun: false },
    async (sql) => {
      const [row] = await sql<[{ entries: QuarantineEntry[] }]>`
      select entries from identity_sync.identity_quarantine(run_id => ${runId}, ids => ${ids}) as entries`;
      return row.entries;
    },
  );
  show(options, entries, () => quarantineScreen(entries, columnsOf(process.stdout)));
});
