// `release`: lets go of a library's identity, or of the hold on it.
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { addSettings, idOf, OK, print, settingsFrom } from './command.js';

const command = new Command('release')
  .description("let go of a library's identity, or of the hold on it; it is due again")
  .argument('<id>', 'the library')
  .requiredOption('--reason <text>', 'why: it is kept in the history');

export const releaseCommand = addSettings(command, 'release').action(
  async (id: string, options: { reason: string }) => {
    const { DATABASE_URL, DRY_RUN } = await settingsFrom('release', options);
    const libraryId = idOf('ID', id);
    const report = await inTransaction(
      DATABASE_URL,
      DRY_RUN,
      async (sql) => {
        const [row] = await sql`
        select report from identity_sync.release_identity(
          library_id => ${libraryId}, reason => ${options.reason}) as report`;
        return row?.report;
      },
      ['release_identity'],
    );
    print(report);
    process.exitCode = OK;
  },
);
