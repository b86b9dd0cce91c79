// The operator's verbs: each calls the function of its name once, in a transaction of its own, for good or as a dry run.
import { Command } from 'commander';
import type { Sql } from '../database/connect.js';
import { inTransaction } from '../database/transaction.js';
import { clock, columnsOf, counted, wrap } from '../screens/format.js';
import { UsageError } from '../settings.js';
import { addSettings, FAILED, idOf, libraryOf, OK, settingsFrom, show } from './command.js';

interface Options {
  reason: string;
  until?: string;
  run: string;
  json?: true;
}

interface Verb<Input, Result> {
  name: 'hold' | 'release' | 'dismiss' | 'pause' | 'resume' | 'stop';
  about: string;
  example: string;
  /** The function of the database that it calls. */
  calls: string;
  argument?: [flags: string, about: string];
  options: [flags: string, about: string, isRequired: boolean][];
  /** Reads what was typed, before anything is connected. */
  read: (argument: string | undefined, options: Options) => Input;
  call: (sql: Sql, input: Input) => Promise<Result>;
  say: (result: Result) => string;
  /** Whether it did what was asked; where this is left out, it did or it threw. */
  isDone?: (result: Result) => boolean;
}

const REASON: Verb<never, never>['options'][number] = ['--reason <text>', 'why; the record keeps it', true];

const readLibrary = (id: string | undefined, { reason }: Options) => ({
  libraryId: libraryOf('ID', id as string),
  reason,
});

const hold: Verb<ReturnType<typeof readLibrary>, { library_id: number; identity: 'held' | 'none' }> = {
  name: 'hold',
  example: "hold 5 --reason 'wrong homonym'",
  calls: 'hold_identity',
  about: 'keep a library as it is until it is released, whatever LML says',
  argument: ['<id>', 'the library'],
  options: [REASON],
  read: readLibrary,
  async call(sql, { libraryId, reason }) {
    const [row] = await sql`
      select result from identity_sync.hold_identity(library_id => ${libraryId}, reason => ${reason}) as result`;
    return row!.result;
  },
  say: ({ library_id, identity }) =>
    identity === 'none'
      ? `library ${library_id} has no identity and is held: it is not asked until it is released`
      : `library ${library_id} is held: its identity stays as it is until it is released`,
};

const release: Verb<
  ReturnType<typeof readLibrary>,
  { library_id: number; identity: 'removed' | 'emptied' | 'none'; sources_removed: number }
> = {
  name: 'release',
  example: "release 5 --reason 'wrong homonym'",
  calls: 'release_identity',
  about: "let go of a library's identity, or of the hold on it; it is due again",
  argument: ['<id>', 'the library'],
  options: [REASON],
  read: readLibrary,
  async call(sql, { libraryId, reason }) {
    const [row] = await sql`
      select result from identity_sync.release_identity(library_id => ${libraryId}, reason => ${reason}) as result`;
    return row!.result;
  },
  say: ({ library_id, identity, sources_removed }) =>
    `library ${library_id} is due again: ${identity === 'none' ? 'it had no identity' : `its identity was ${identity}`}, ` +
    `${counted(sources_removed, 'source')} removed`,
};

const dismiss: Verb<{ quarantineId: string; reason: string }, { quarantine_id: number }> = {
  name: 'dismiss',
  example: "dismiss 7 --reason 'a typing mistake'",
  calls: 'dismiss_quarantined_verdict',
  about: 'close an entry of the quarantine that nothing can cure; the mark it left goes with it',
  argument: ['<entry>', 'the entry, as identity-sync quarantine numbers it'],
  options: [REASON],
  read: (entry, { reason }) => ({ quarantineId: idOf('ENTRY', entry as string), reason }),
  async call(sql, { quarantineId, reason }) {
    await sql`
      select from identity_sync.dismiss_quarantined_verdict(quarantine_id => ${quarantineId}, reason => ${reason})`;
    return { quarantine_id: Number(quarantineId) };
  },
  say: ({ quarantine_id }) => `entry ${quarantine_id} is dismissed`,
};

const pause: Verb<{ reason: string; until: string | null }, { name: 'paused'; until: string | null }> = {
  name: 'pause',
  example: "pause --reason 'LML moves' --until 2026-12-24T06:00Z",
  calls: 'pause_identity_planning',
  about: 'have the cron plan nothing, until it is resumed or a time has come',
  options: [REASON, ['--until <time>', 'when it ends by itself, with its zone: 2026-12-24T06:00Z', false]],
  read: (_argument, { reason, until }) => ({ reason, until: until === undefined ? null : timeOf(until) }),
  async call(sql, { reason, until }) {
    await sql`select from identity_sync.pause_identity_planning(reason => ${reason}, until => ${until})`;
    return { name: 'paused', until };
  },
  say: ({ until }) =>
    `the cron plans nothing until${until === null ? '' : ` ${clock(until)}, or until`}: identity-sync resume`,
};

const resume: Verb<{ name: string | null }, { lifted: string[] }> = {
  name: 'resume',
  example: 'resume',
  calls: 'resume_identity_planning',
  about: 'lift every hold on planning, or the one that is named',
  argument: ['[name]', 'paused, key_refused or brake'],
  options: [],
  read: (name = undefined) => ({ name: name ?? null }),
  async call(sql, { name }) {
    const [row] =
      await sql`select lifted from identity_sync.resume_identity_planning(name => ${name}) as lifted`;
    return { lifted: row!.lifted };
  },
  say: ({ lifted }) =>
    lifted.length === 0
      ? 'no such hold was in force'
      : `lifted: ${lifted.join(', ')}; the cron plans again at its next tick`,
};

const stop: Verb<{ runId: string; reason: string }, { run_id: number; stopped: boolean }> = {
  name: 'stop',
  example: "stop --run 212 --reason 'wrong rows'",
  calls: 'stop_identity_run',
  about: 'stop a run: its calls in flight finish, what is left is due next time',
  options: [['--run <id>', 'the run', true], REASON],
  read: (_argument, { run, reason }) => ({ runId: idOf('--run', run), reason }),
  async call(sql, { runId, reason }) {
    const [row] = await sql`
      select stopped from identity_sync.stop_identity_run(run_id => ${runId}, reason => ${reason}) as stopped`;
    return { run_id: Number(runId), stopped: row!.stopped };
  },
  say: ({ run_id, stopped }) => (stopped ? `run ${run_id} stops` : `run ${run_id} is not open`),
  isDone: ({ stopped }) => stopped,
};

export const verbCommands = [
  commandOf(hold),
  commandOf(release),
  commandOf(dismiss),
  commandOf(pause),
  commandOf(resume),
  commandOf(stop),
];

function commandOf<Input, Result>(verb: Verb<Input, Result>): Command {
  const command = new Command(verb.name).description(verb.about);
  if (verb.argument) command.argument(...verb.argument);
  for (const [flags, about, isRequired] of verb.options) {
    if (isRequired) command.requiredOption(flags, about);
    else command.option(flags, about);
  }
  command.option('--json', 'print JSON, as into a pipe');
  const manual = { examples: [`identity-sync ${verb.example}`] };
  return addSettings(command, verb.name, manual).action(async (...given: unknown[]) => {
    const argument = verb.argument ? (given[0] as string | undefined) : undefined;
    const options = given[verb.argument ? 1 : 0] as Options;
    const { DATABASE_URL, DRY_RUN } = await settingsFrom(verb.name, { ...options });
    const input = verb.read(argument, options);
    const result = await inTransaction(
      DATABASE_URL,
      { calls: verb.calls, dryRun: DRY_RUN, tells: true },
      (sql) => verb.call(sql, input),
    );
    show(options, result, () =>
      wrap(`${DRY_RUN ? 'dry run: ' : ''}${verb.say(result)}`, columnsOf(process.stdout)),
    );
    process.exitCode = verb.isDone?.(result) === false ? FAILED : OK;
  });
}

/** Reads a time that names its zone, since a local one would mean another time on another machine. */
function timeOf(text: string): string {
  const time = /(Z|[+-]\d{2}:?\d{2})$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new UsageError(`--until is "${text}"; allowed: a time with its zone, as in 2026-12-24T06:00Z`);
  return new Date(time).toISOString();
}
