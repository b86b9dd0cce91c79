#!/usr/bin/env -S node --max-semi-space-size=1 --max-old-space-size=1024
// The program, built from its commands. Answers pass through as large strings: a young generation of 1 MB and a bounded old
// one free them soon, which takes a quarter off the peak of memory and costs no speed.
import { Command, CommanderError } from 'commander';
import { applyCommand } from './commands/apply.js';
import { FAILED, OK, WRONG_USAGE } from './commands/command.js';
import { demoCommand } from './commands/demo.js';
import { migrateCommand } from './commands/migrate.js';
import { releaseCommand } from './commands/release.js';
import { replayCommand } from './commands/replay.js';
import { runCommand } from './commands/run.js';
import { workerCommand } from './commands/worker.js';
import { logFailure } from './observe/log.js';
import { UsageError } from './settings.js';

const COMMANDS = [
  migrateCommand,
  runCommand,
  workerCommand,
  applyCommand,
  replayCommand,
  releaseCommand,
  demoCommand,
];

const program = new Command('identity-sync')
  .description("Keeps the station's library identity tables in step with LML.")
  .exitOverride();

for (const command of COMMANDS) program.addCommand(command.copyInheritedSettings(program));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? OK : WRONG_USAGE;
  } else if (error instanceof UsageError) {
    process.stderr.write(`identity-sync: ${error.message}\n`);
    process.exitCode = WRONG_USAGE;
  } else {
    logFailure('error', { step: 'end' }, 'identity-sync could not go on', error);
    // A socket that is still open must not keep a process alive that cannot work.
    process.exit(FAILED);
  }
}
