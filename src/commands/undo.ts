// `undo`: takes back what a run wrote, all of it or some libraries.
import { Command } from 'commander';
import { inTransaction } from '../database/transaction.js';
import { count } from '../screens/format.js';
import { addSettings, idOf, idsOf, isForPerson, OK, previewOf, settingsFrom, show } from './command.js';

const command = new Command('undo')
  .description('take back what a run wrote; what was changed since, or is held, stays')
  .requiredOption('--run <id>', 'the run')
  .option('--ids <ids>', 'only these libraries, as in 1,2,3')
  .option('--json', 'print JSON, as into a pipe');

interface Options {
  run: string;
  ids?: string;
  json?: true;
}

/** What undo_identity_run returns. */
interface Undone {
  run_id: number;
  of_run_id: number;
  identity: { removed: number; restored: number };
  source: { removed: number; restored: number };
  compilation_track: { restored: number };
  marks_lifted: number;
  quarantine_closed: number;
  newer: number;
  held: number;
}

export const undoCommand = addSettings(command, 'undo', {
  examples: ['identity-sync undo --run 212 --dry-run', 'identity-sync undo --run 212 --ids 101,102'],
}).action(async (options: Options) => {
  const runId = idOf('--run', options.run);
  const ids = options.ids === undefined ? null : idsOf('--ids', options.ids);
  const { DATABASE_URL, DRY_RUN } = await settingsFrom('undo', { ...options });
  const { undone, preview } = await inTransaction(
    DATABASE_URL,
    { calls: 'undo_identity_run', dryRun: DRY_RUN },
    async (sql) => {
      const [row] = await sql<[{ undone: Undone }]>`
      select undone from identity_sync.undo_identity_run(run_id => ${runId}, ids => ${ids}) as undone`;
      const isSeen = DRY_RUN && isForPerson(options);
      const all = `identity-sync diff --run ${runId} has them, the other way round`;
      return { undone: row.undone, preview: isSeen ? await previewOf(sql, null, all) : [] };
    },
  );
  show(options, undone, () => [...wordsOf(undone, DRY_RUN), ...preview]);
  process.exitCode = OK;
});

function wordsOf(undone: Undone, isDryRun: boolean): string[] {
  const { identity, source, compilation_track, newer, held } = undone;
  const left = [
    newer > 0 ? `${count(newer)} changed since` : '',
    held > 0 ? `${count(held)} held by hand` : '',
  ].filter((words) => words !== '');
  return [
    isDryRun
      ? `dry run: run ${undone.of_run_id} would be undone`
      : `run ${undone.of_run_id} is undone by run ${undone.run_id}`,
    `  identities   ${count(identity.restored)} restored, ${count(identity.removed)} removed`,
    `  sources      ${count(source.restored)} restored, ${count(source.removed)} removed`,
    `  track links  ${count(compilation_track.restored)} restored`,
    `  marks        ${count(undone.marks_lifted)} lifted, ${count(undone.quarantine_closed)} quarantine entries closed`,
    ...(left.length > 0 ? [`left alone: ${left.join(', ')}`] : []),
    ...(isDryRun ? [] : [`take that back: identity-sync undo --run ${undone.run_id}`]),
  ];
}
