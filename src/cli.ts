#!/usr/bin/env -S node --max-semi-space-size=1 --max-old-space-size=1024
// The program, built from its commands. Answers pass through as large strings: a young generation of 1 MB and a bounded old
// one free them soon, which takes a quarter off the peak of memory and costs no speed.
import { Command, CommanderError } from 'commander';
import { applyCommand } from './commands/apply.js';
import { checkCommand } from './commands/check.js';
import { FAILED, OK, WRONG_USAGE } from './commands/command.js';
import { demoCommand } from './commands/demo.js';
import { diffCommand } from './commands/diff.js';
import { explainCommand } from './commands/explain.js';
import { migrateCommand } from './commands/migrate.js';
import { quarantineCommand } from './commands/quarantine.js';
import { replayCommand } from './commands/replay.js';
import { reportCommand } from './commands/report.js';
import { runCommand } from './commands/run.js';
import { statusCommand } from './commands/status.js';
import { undoCommand } from './commands/undo.js';
import { verbCommands } from './commands/verbs.js';
import { workerCommand } from './commands/worker.js';
import { namesFromFile } from './env-file.js';
import { allOf, inWords } from './errors.js';
import { log } from './observe/log.js';
import { onOneLine } from './screens/signs.js';
import { UsageError } from './settings.js';
import { VERSION } from './version.js';

const COMMANDS = [
  migrateCommand,
  runCommand,
  workerCommand,
  checkCommand,
  applyCommand,
  quarantineCommand,
  diffCommand,
  undoCommand,
  replayCommand,
  reportCommand,
  ...verbCommands,
  statusCommand,
  explainCommand,
  demoCommand,
];

// The SQLSTATE of an argument that only the database can judge.
const OUT_OF_RANGE = 'LS001';

const program = new Command('identity-sync')
  .description("Keeps the station's library identity tables in step with LML.")
  .version(`identity-sync ${VERSION}`, '-V, --version', 'which version this is')
  .option('--verbose', 'where a command fails, all that is known of it')
  .configureHelp({ showGlobalOptions: true, minWidthToWrap: 20 })
  .exitOverride();

for (const command of COMMANDS) program.addCommand(command.copyInheritedSettings(program));

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has gone, as `head` does, wants no more.
  if (error.code === 'EPIPE') process.exit();
  fail(error);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? OK : WRONG_USAGE;
  } else if (error instanceof UsageError) {
    const named = namesFromFile().filter((name) => new RegExp(`\\b${name}\\b`).test(error.message));
    const lines = [
      ...error.message.split('\n'),
      ...(named.length > 0 ? [`set by the file .env here: ${named.join(', ')}`] : []),
    ];
    for (const line of lines) process.stderr.write(`identity-sync: ${onOneLine(line)}\n`);
    process.exitCode = WRONG_USAGE;
  } else {
    fail(error);
  }
}

function fail(error: unknown): never {
  const { words, code } = inWords(error);
  const rest = program.opts<{ verbose?: true }>().verbose ? { failure: allOf(error) } : {};
  if (process.stderr.isTTY && !('failure' in rest))
    process.stderr.write(`identity-sync: ${onOneLine(words)}\n`);
  else log.error({ step: 'end', code, ...rest }, `identity-sync: ${words}`);
  // A socket that is still open must not keep a process alive that cannot work.
  process.exit(code === OUT_OF_RANGE ? WRONG_USAGE : FAILED);
}
