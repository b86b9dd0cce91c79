// `report`: how things stand, as a page to keep, to send or to put on a web server.
import { randomUUID } from 'node:crypto';
import { lstat, rename, rm, stat, writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { UsageError } from '../settings.js';
import { addSettings, settingsFrom } from './command.js';

const command = new Command('report')
  .description('how things stand as a page with charts, in one file without a script')
  .requiredOption('--html <file>', 'where to write it; - for standard output');

export const reportCommand = addSettings(command, 'report', {
  examples: ['identity-sync report --html status.html'],
}).action(async (options: { html: string }) => {
  const settings = await settingsFrom('report', { ...options });
  const { readPage } = await import('../screens/page/read.js');
  const text = await inTransaction(
    settings.DATABASE_URL,
    { calls: 'identity_page', dryRun: false },
    async (sql) => await readPage(sql, settings),
  );
  if (options.html === '-') process.stdout.write(text);
  else await replaceFile(options.html, text);
});

/**
 * A web server that reads the file meanwhile gets the old page or the new one, never a part. A pipe or a terminal, such as
 * /dev/stdout, is filled; a link to a file is refused, since another user may have laid it in an open folder.
 */
async function replaceFile(path: string, text: string): Promise<void> {
  const [there, meant] = await Promise.all([lstat(path), stat(path)].map((asked) => asked.catch(() => null)));
  if (meant && !meant.isFile()) return await writeFile(path, text);
  if (there?.isSymbolicLink())
    throw new UsageError(`--html is "${path}", which is a link; allowed: a file, or - for standard output`);
  const unfinished = `${path}.${randomUUID()}`;
  try {
    await writeFile(unfinished, text, { mode: meant?.mode ?? 0o666 });
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
