// `status`: how things stand, once or again and again.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import colors from 'picocolors';
import { inTransaction } from '../database/transaction.js';
import { columnsOf } from '../screens/format.js';
import { type Status, statusScreen } from '../screens/status.js';
import { nextTicks } from '../screens/ticks.js';
import { UsageError } from '../settings.js';
import { addSettings, settingsFrom, show } from './command.js';

const WATCH_MS = 2000;

// Clears the screen and what has scrolled out of it, and goes to its first line.
const CLEAR = '\u001b[2J\u001b[3J\u001b[H';

const command = new Command('status')
  .description('how things stand: what needs you, runs, workers, what is due, coverage, quarantine, gate')
  .option('--watch', 'again every two seconds, until Ctrl-C')
  .option('--json', 'print JSON, as into a pipe');

export const statusCommand = addSettings(command, 'status', {
  examples: ['identity-sync status', 'identity-sync status --watch', 'identity-sync status --json'],
}).action(async (options: { watch?: true; json?: true }) => {
  const settings = await settingsFrom('status', { ...options });
  if (options.watch && (options.json || !process.stdout.isTTY))
    throw new UsageError('--watch is for a terminal; without --watch it prints once');
  const ask = () =>
    inTransaction(settings.DATABASE_URL, { calls: 'identity_status', dryRun: false }, async (sql) => {
      const [row] = await sql<[{ status: Status }]>`
          select status from identity_sync.identity_status(
            stale_days => ${settings.STALE_THRESHOLD_DAYS},
            unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
            include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL}) as status`;
      return row.status;
    });
  for (;;) {
    const status = await ask();
    const ticks = await nextTicks(status);
    if (options.watch) process.stdout.write(CLEAR);
    show(options, status, () => statusScreen(status, ticks, columnsOf(process.stdout), colors));
    if (!options.watch) return;
    await sleep(WATCH_MS);
  }
});
