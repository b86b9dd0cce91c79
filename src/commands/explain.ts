// `explain`: why a library is due or not, what is there and who said it, and what has happened to it.
import { Command } from 'commander';
import colors from 'picocolors';
import { inTransaction } from '../database/transaction.js';
import { type Explained, explainScreen } from '../screens/explain.js';
import { columnsOf } from '../screens/format.js';
import { addSettings, libraryOf, settingsFrom, show } from './command.js';

const command = new Command('explain')
  .description('why a library is due or not, what is known of it and who said it, and its history')
  .argument('<id>', 'the library')
  .option('--json', 'print JSON, as into a pipe');

export const explainCommand = addSettings(command, 'explain', {
  examples: ['identity-sync explain 5'],
}).action(async (id: string, options: { json?: true }) => {
  const settings = await settingsFrom('explain', { ...options });
  const libraryId = libraryOf('ID', id);
  const explained = await inTransaction(
    settings.DATABASE_URL,
    { calls: 'explain_identity', dryRun: false },
    async (sql) => {
      const [row] = await sql<[{ explained: Explained }]>`
          select explained from identity_sync.explain_identity(
            library_id => ${libraryId}, stale_days => ${settings.STALE_THRESHOLD_DAYS},
            unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
            include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL}) as explained`;
      return row.explained;
    },
  );
  show(options, explained, () => explainScreen(explained, columnsOf(process.stdout), colors));
});
