// `diff`: what a run changed, or what applying a dry run would change. Rows are streamed, since a first run changes a million.
import { once } from 'node:events';
import { Command } from 'commander';
import { changesOf, inTransaction } from '../database/transaction.js';
import { csvLine, type DiffedRun, DiffScreen } from '../screens/diff.js';
import { columnsOf, jsonOf } from '../screens/format.js';
import { UsageError } from '../settings.js';
import { addSettings, idOf, isForPerson, OK, settingsFrom } from './command.js';

const command = new Command('diff')
  .description('what a run changed, or what applying a dry run would change: old beside new')
  .requiredOption('--run <id>', 'the run')
  .option('--json', 'print a JSON array, as into a pipe')
  .option('--csv', "print CSV with a line of titles; ' precedes what a spreadsheet would take for a formula");

interface Options {
  run: string;
  json?: true;
  csv?: true;
}

export const diffCommand = addSettings(command, 'diff', {
  examples: ['identity-sync diff --run 212', 'identity-sync diff --run 212 --csv > changes.csv'],
}).action(async (options: Options) => {
  if (options.json && options.csv) throw new UsageError('--json and --csv exclude each other');
  const runId = idOf('--run', options.run);
  const { DATABASE_URL } = await settingsFrom('diff', { ...options });
  await inTransaction(DATABASE_URL, { calls: 'identity_run_changes', dryRun: false }, async (sql) => {
    const [row] = await sql<[{ run: DiffedRun }]>`
      select run from identity_sync.identity_run_report(run_id => ${runId}) as run`;
    const changes = changesOf(sql, runId);
    if (isForPerson(options) && !options.csv) {
      const screen = new DiffScreen(columnsOf(process.stdout));
      for await (const part of changes) screen.add(part);
      await write(`${screen.lines(row.run).join('\n')}\n`);
    } else if (options.csv) {
      await write(csvLine(['library_id', 'artist_name', 'album_title', 'row', 'column', 'old', 'new']));
      for await (const part of changes)
        await write(part.map((change) => csvLine(Object.values(change))).join(''));
    } else {
      let isFirst = true;
      await write('[');
      for await (const part of changes) {
        await write(
          part.map((change, index) => `${isFirst && index === 0 ? '' : ','}\n  ${jsonOf(change)}`).join(''),
        );
        isFirst = false;
      }
      await write(isFirst ? ']\n' : '\n]\n');
    }
  });
  process.exitCode = OK;
});

/** Waits where the reader is slower than the database. */
async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
