// What the commands share: options made of settings, exit statuses, signals, and how arguments are read and results printed.
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { decode } from '../carry/decode.js';
import type { Sql } from '../database/connect.js';
import { changesOf, type JudgedReport, judge, type Report } from '../database/transaction.js';
import { isFromFile, readEnvFile } from '../env-file.js';
import { configureLog, describeFailure, log } from '../observe/log.js';
import { DiffScreen } from '../screens/diff.js';
import { columnsOf, jsonOf } from '../screens/format.js';
import { operationScreen } from '../screens/run-end.js';
import {
  allowedBy,
  type CommandName,
  defaultOf,
  readSettings,
  type SettingName,
  type Settings,
  type SettingsOf,
  settingNamed,
  settingsOf,
  shownOf,
  UsageError,
} from '../settings.js';
import { VERSION } from '../version.js';

export const OK = 0;
export const FAILED = 1;
export const WRONG_USAGE = 2;

type Options = Record<string, unknown>;

/** Each flag of the settings that a command reads, with the settings that it sets. */
function flagsOf(command: CommandName): Map<string, SettingName[]> {
  const flags = new Map<string, SettingName[]>();
  for (const name of settingsOf(command)) {
    const { flag } = settingNamed(name);
    if (flag !== undefined) flags.set(flag, [...(flags.get(flag) ?? []), name]);
  }
  return flags;
}

/** What a person needs beside a command's flags. */
export interface Manual {
  examples: string[];
  /** When it ends with 1. */
  failed?: string;
}

/** Gives a command an option for each setting that it reads and that has a flag, and says the rest in its help. */
export function addSettings(command: Command, name: CommandName, manual: Manual): Command {
  const flags = flagsOf(name);
  for (const [flag, settings] of flags) {
    const about = settings.map((setting) => settingNamed(setting).about).join(', ');
    command.addOption(
      new Option(flag, `${about} (${settings.map((setting) => valuesOf(setting)).join(', ')})`),
    );
  }
  const withFlag = [...flags.values()].flat();
  const others = settingsOf(name).filter((setting) => !withFlag.includes(setting));
  return addManual(command, manual, others);
}

/** Says below a command's flags which variables it reads besides, how it ends, and how it is called. */
export function addManual(command: Command, manual: Manual, variables: SettingName[] = []): Command {
  const { failed = 'it could not be done', examples } = manual;
  const chapters: [title: string, rows: [string, string][]][] = [
    [
      'Variables (also read from .env):',
      variables.map((name) => [name, `${settingNamed(name).about} (${valuesOf(name, '')})`]),
    ],
    [
      'Exit status:',
      [
        [String(OK), 'all well'],
        [String(FAILED), failed],
        [String(WRONG_USAGE), 'wrong usage or configuration'],
      ],
    ],
    [examples.length > 1 ? 'Examples:' : 'Example:', examples.map((example) => [example, ''])],
  ];
  return command.addHelpText('after', ({ command: shown }) => {
    const help = shown.createHelp();
    help.helpWidth = process.stdout.isTTY ? process.stdout.columns || 80 : 80;
    const lines = chapters.flatMap(([title, rows]) => {
      const width = Math.max(0, ...rows.map(([term]) => term.length));
      return rows.length === 0
        ? []
        : ['', title, ...rows.map(([term, about]) => help.formatItem(term, width, about, help))];
    });
    return lines.join('\n');
  });
}

/** A setting's name with its default and what it allows, as the help says it. */
function valuesOf(name: SettingName, shown = `${name}: `): string {
  const setting = settingNamed(name);
  const byDefault = defaultOf(setting);
  const isRequired = !setting.value.safeParse(undefined).success;
  const unlessSet = isRequired ? ', required' : byDefault === undefined ? '' : `, default ${byDefault}`;
  return `${shown}${allowedBy(setting.value)}${unlessSet}`;
}

/** Reads the settings of a command, where its options beat the environment, and sets up the log by them. */
export async function settingsFrom<
  Command extends CommandName,
  Optional extends keyof SettingsOf<Command> = never,
>(
  command: Command,
  options: Options = {},
  optional: readonly Optional[] = [],
): Promise<Omit<SettingsOf<Command>, Optional> & Partial<SettingsOf<Command>>> {
  const given: Partial<Record<SettingName, string>> = {};
  for (const [flag, settings] of flagsOf(command)) {
    const option = new Option(flag);
    const value = options[option.attributeName()];
    if (value === undefined) continue;
    const parts = settings.length === 1 ? [String(value)] : String(value).split('/');
    if (parts.length !== settings.length)
      throw new UsageError(`${option.long} is "${value}"; allowed: index/count, as in 0/4`);
    settings.forEach((setting, index) => {
      given[setting] = parts[index]!;
    });
  }
  const environment = readEnvFile();
  const isOff = (name: keyof SettingsOf<Command>) =>
    !environment[name] && optional.some((one) => one === name);
  const names = settingsOf(command).filter((name) => !isOff(name));
  const settings = await readSettings(names, given, environment);
  const { LOG_LEVEL, LOG_FORMAT } = settings as Pick<Settings, 'LOG_LEVEL' | 'LOG_FORMAT'>;
  configureLog(LOG_LEVEL, LOG_FORMAT);
  return settings;
}

/** Says which program starts with which settings; in words, with those that are not the default. */
export function logStart(command: CommandName, settings: Partial<Settings>): void {
  const shown = settingsOf(command).filter((name) => settingNamed(name).isSecret !== true);
  const set = shown.filter((name) => settings[name] !== defaultOf(settingNamed(name)));
  const words = set
    .map((name) => `${name} ${shownOf(name, settings[name])}${isFromFile(name) ? ' (.env)' : ''}`)
    .join(', ');
  const fields = {
    step: 'start',
    version: VERSION,
    command,
    settings: Object.fromEntries(shown.map((name) => [name, shownOf(name, settings[name])])),
  };
  log.info(fields, `identity-sync ${VERSION} ${command} starts${words === '' ? '' : `: ${words}`}`);
}

export function print(result: unknown): void {
  process.stdout.write(`${jsonOf(result, 2)}\n`);
}

/** Whether a person at a terminal reads the result. */
export const isForPerson = ({ json }: { json?: true | undefined }): boolean =>
  !json && process.stdout.isTTY === true;

/** Shows a result: to a person in words, into a pipe or with --json as it is. */
export function show(options: { json?: true }, result: unknown, words: () => string[]): void {
  if (!isForPerson(options)) print(result);
  else process.stdout.write(`${words().join('\n')}\n`);
}

/**
 * What a dry run would change, row by row, for a person: of a run that is over, or of what the session of this transaction
 * has just done. `all` says where all of it is.
 */
export async function previewOf(sql: Sql, runId: string | null, all: string): Promise<string[]> {
  const screen = DiffScreen.preview(columnsOf(process.stdout));
  for await (const part of changesOf(sql, runId)) screen.add(part);
  return ['', ...screen.previewed(all)];
}

/** Reads a number that the database knows as a bigint. */
export function idOf(name: string, value: string): string {
  if (!/^\d{1,18}$/.test(value)) throw new UsageError(`${name} is "${value}"; allowed: a number`);
  return value;
}

// A library's id is an integer of PostgreSQL.
const isLibraryId = (text: string) => /^\d{1,10}$/.test(text) && Number(text) < 2 ** 31;

/** Reads the id of one library. */
export function libraryOf(name: string, value: string): number {
  if (!isLibraryId(value)) throw new UsageError(`${name} is "${value}"; allowed: a library id, as in 5`);
  return Number(value);
}

/** Reads a list of library ids. */
export function idsOf(name: string, value: string): number[] {
  const ids = value.split(',');
  if (!ids.every(isLibraryId))
    throw new UsageError(`${name} is "${value}"; allowed: library ids, as in 1,2,3`);
  return ids.map(Number);
}

/** Reads a list of library ids from a file, or from standard input: what a query printed, or one that was written. */
export async function idsIn(name: string, file: string): Promise<number[]> {
  const ids = (await readText(name, file)).split(/[\s,]+/).filter((word) => word !== '');
  const wrong = ids.find((id) => !isLibraryId(id));
  if (wrong === undefined && ids.length > 0) return ids.map(Number);
  const found = wrong === undefined ? 'no id' : JSON.stringify(wrong.slice(0, 40));
  throw new UsageError(
    `${name} is "${file}", which holds ${found}; allowed: library ids with commas, blanks or lines between them`,
  );
}

/** Reads a text from a file or standard input. What is no UTF-8 is refused: replaced characters would be stored, and held. */
export async function readText(name: string, file: string): Promise<string> {
  const bytes = await (file === '-' ? buffer(process.stdin) : readFile(file)).catch((error) => {
    throw new UsageError(`${name} is "${file}", and cannot be read: ${describeFailure(error).message}`);
  });
  const { text, fault } = decode(bytes);
  if (fault !== null) throw new UsageError(`${name} is "${file}", and ${fault}`);
  return text;
}

/** How long the process may stay after a second signal. */
const LEAVE_MS = 2000;

/**
 * The first signal lets the calls in flight finish, the second aborts them. The process ends `withinMs` after the first and
 * two seconds after the second, whatever it waits for.
 */
export function stopOnSignals(withinMs: number): { stop: AbortSignal; abortNow: AbortSignal } {
  const [stop, abortNow] = [new AbortController(), new AbortController()];
  const leaveAfter = (milliseconds: number) =>
    setTimeout(() => {
      log.error(
        { step: 'stop' },
        'something does not end: leaving it; what was in flight is asked again after its lease',
      );
      process.exit(FAILED);
    }, milliseconds).unref();
  const onSignal = (signal: string) => {
    log.info({ step: 'stop' }, `${signal}: finishing the batches in flight; once more to cut them off`);
    leaveAfter(stop.signal.aborted ? LEAVE_MS : withinMs);
    (stop.signal.aborted ? abortNow : stop).abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return { stop: stop.signal, abortNow: abortNow.signal };
}

/** Has an operation's report judged, and in a dry run for a person what it would change looked at before it is rolled back. */
export async function judgeOperation(
  sql: Sql,
  report: Report,
  { isDryRun, all = '', ...options }: { isDryRun: boolean; json?: true | undefined; all?: string },
): Promise<JudgedReport & { preview: string[] }> {
  const isSeen = isDryRun && isForPerson(options);
  return { ...(await judge(sql, report)), preview: isSeen ? await previewOf(sql, null, all) : [] };
}

/** Shows an operation's report and finds its exit status, which the database judges. */
export function concludeOperation(
  options: { json?: true },
  isDryRun: boolean,
  { report, isSuccess, preview }: JudgedReport & { preview: string[] },
): number {
  const words = () => operationScreen(report, isSuccess, isDryRun, columnsOf(process.stdout));
  show(options, report, () => [...words(), ...preview]);
  return isSuccess ? OK : FAILED;
}
