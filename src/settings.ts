// Configuration. One table holds every setting: what it allows, its default, its flag, the commands that read it and
// the argument of plan_identity_run that it sets. Options, environment, the call that plans and the README follow from it.
import { z } from 'zod';
import { faultOfAddress } from './database/address.js';
import { LOG_FORMATS } from './observe/log.js';
import { DSN } from './observe/sentry.js';

/** A wrong setting or wrong usage: the program ends with status 2 and this message. */
export class UsageError extends Error {}

const VERBS = ['hold', 'release', 'dismiss', 'pause', 'resume', 'stop', 'undo'] as const;
const RUNS = ['run', 'worker', 'check'] as const;
const SHOWS = ['status', 'explain', 'quarantine', 'diff', 'report'] as const;
// Those that say which rows are due.
const JUDGES = ['status', 'explain', 'report'] as const;
const ALL = [...RUNS, 'apply', 'replay', ...VERBS, ...SHOWS] as const;

export type CommandName = 'migrate' | (typeof ALL)[number];

export interface Setting {
  /** What the text may be, and what it means. Its description says what is allowed. */
  value: z.ZodType;
  readBy: readonly CommandName[];
  /** What it does, in a few words. */
  about: string;
  /** The flag that beats the variable, as commander writes it. Two settings may share one, as in `--partition 0/4`. */
  flag?: string;
  /** The argument of plan_identity_run. */
  plan?: string;
  /** Its value is never shown. */
  isSecret?: true;
}

const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum)
    .describe(`an integer from ${minimum} to ${maximum}`);

const TRUE = ['true', '1'];
const FALSE = ['false', '0', ''];

const yesOrNo = z
  .string()
  .transform((value) => value.toLowerCase())
  .refine((value) => TRUE.includes(value) || FALSE.includes(value))
  .transform((value) => TRUE.includes(value))
  .describe('true, 1, false, 0 or empty');

const webUrl = z
  .string()
  .refine((value) => {
    const read = URL.parse(value);
    return read !== null && /^https?:$/.test(read.protocol) && !read.username && !read.password;
  })
  .describe('a URL that begins with http:// or https://, without user and password');

const databaseUrl = z
  .string()
  .superRefine((value, context) => {
    const fault = faultOfAddress(value);
    if (fault !== null) context.addIssue({ code: 'custom', params: { fault } });
  })
  .describe('a URL that begins with postgres:// or postgresql://');

// A default is not checked: graphile-worker takes longer to load than all else that a run with nothing due needs.
const crontabTime = z
  .string()
  .superRefine(async (value, context) => {
    const { faultOfCrontabTime } = await import('./worker/crontab.js');
    const fault = faultOfCrontabTime(value);
    if (fault !== null) context.addIssue({ code: 'custom', params: { fault } });
  })
  .describe('a crontab time in UTC, as in 17 3 * * *');

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const SETTINGS = {
  DATABASE_URL: {
    value: databaseUrl,
    readBy: ALL,
    about: "the station's database",
    isSecret: true,
  },
  MIGRATE_DATABASE_URL: {
    value: databaseUrl.optional(),
    readBy: ['migrate'],
    about: "the same by its owner's login, for migrate alone; without it migrate takes DATABASE_URL",
    isSecret: true,
  },
  LIBRARY_METADATA_URL: {
    value: webUrl,
    readBy: RUNS,
    about: 'where LML is',
  },
  LML_API_KEY: {
    value: z
      .string()
      .regex(/^[\x21-\x7e]*$/)
      .describe('printable ASCII without blanks')
      .optional(),
    readBy: RUNS,
    about: "LML's key, sent as a bearer token",
    isSecret: true,
  },
  DRY_RUN: {
    value: yesOrNo.default(false),
    readBy: [...RUNS, 'apply', 'replay', ...VERBS],
    about: 'write nothing, and report what would be written',
    flag: '--dry-run',
    plan: 'dry_run',
  },
  RECHECK: {
    value: yesOrNo.default(false),
    readBy: RUNS,
    about: 'take the scope recheck where no other is named',
  },
  PARTITION_INDEX: {
    value: integer(0, 1023).default(0),
    readBy: RUNS,
    about: 'which share of the catalogue, from 0',
    flag: '--partition <index/count>',
    plan: 'partition_index',
  },
  PARTITION_COUNT: {
    value: integer(1, 1024).default(1),
    readBy: RUNS,
    about: 'out of how many, as in 0/4',
    flag: '--partition <index/count>',
    plan: 'partition_count',
  },
  BATCH_SIZE: {
    value: integer(1, 1000).default(500),
    readBy: RUNS,
    about: 'rows a call',
    flag: '--batch-size <rows>',
    plan: 'batch_size',
  },
  VA_BATCH_SIZE: {
    value: integer(1, 1000).default(100),
    readBy: RUNS,
    about: 'compilation-shaped rows a call',
    flag: '--va-batch-size <rows>',
    plan: 'va_batch_size',
  },
  LML_CONCURRENCY: {
    value: integer(1, 32).default(2),
    readBy: RUNS,
    about: 'calls in flight, over all processes of the database',
    flag: '--concurrency <calls>',
    plan: 'lanes',
  },
  LML_TIMEOUT_MS: {
    value: integer(1000, 600_000).default(30_000),
    readBy: RUNS,
    about: 'how long a whole call may take',
    flag: '--timeout-ms <ms>',
  },
  LML_MAX_TRIES: {
    value: integer(1, 10).default(3),
    readBy: RUNS,
    about: 'how often a call is tried',
    flag: '--max-tries <tries>',
  },
  THROTTLE_MS: {
    value: integer(0, 60_000).default(100),
    readBy: RUNS,
    about: 'how long a lane pauses after each of its calls',
    flag: '--throttle-ms <ms>',
  },
  STALE_THRESHOLD_DAYS: {
    value: integer(1, 3650).default(7),
    readBy: [...RUNS, ...JUDGES],
    about: 'age at which an identity is due again',
    flag: '--stale-days <days>',
    plan: 'stale_days',
  },
  UNRESOLVED_RETRY_DAYS: {
    value: integer(1, 3650).default(30),
    readBy: [...RUNS, ...JUDGES],
    about: 'age at which an answer without an identity is due again',
    flag: '--unresolved-retry-days <days>',
    plan: 'unresolved_retry_days',
  },
  INCLUDE_NULL_CANONICAL: {
    value: yesOrNo.default(false),
    readBy: [...RUNS, ...JUDGES],
    about: 'also take rows without a canonical entity',
    flag: '--include-null-canonical',
    plan: 'include_null_canonical',
  },
  STRICT_BANDS: {
    value: yesOrNo.default(false),
    readBy: [...RUNS, 'apply'],
    about: "refuse a confidence outside its method's band, and a source or method that is not known",
    flag: '--strict-bands',
    plan: 'strict_bands',
  },
  RUN_DEADLINE_MINUTES: {
    value: integer(1, 1440).default(60),
    readBy: RUNS,
    about: 'when a run ends at the latest; what is left is due next time',
    flag: '--deadline-minutes <minutes>',
    plan: 'deadline_minutes',
  },
  LML_CALL_BUDGET: {
    value: integer(1, 999_999_999).optional(),
    readBy: RUNS,
    about: 'calls that a run may make; what is left is due next time',
    flag: '--call-budget <calls>',
    plan: 'call_budget',
  },
  PLAN_CRON: {
    value: crontabTime.default('17 3 * * *'),
    readBy: RUNS,
    about: 'when the worker plans a run',
  },
  KEEP_DAYS: {
    value: integer(1, 3650).default(30),
    readBy: ['worker', 'check'],
    about: 'how long answers, batches and closed quarantine are kept',
  },
  HEALTH_PORT: {
    value: integer(1, 65_535).optional(),
    readBy: ['worker', 'check'],
    about: 'serves /healthz, /readyz and /metrics',
  },
  STATUS_PAGE: {
    value: yesOrNo.default(false),
    readBy: ['worker'],
    about: 'serves the page of report at / of HEALTH_PORT, to all who reach it',
  },
  ALERT_WEBHOOK_URL: {
    value: webUrl.optional(),
    readBy: RUNS,
    about: 'gets one JSON when a run ends badly or a hold begins',
    isSecret: true,
  },
  LOG_LEVEL: {
    value: z.enum(LOG_LEVELS).describe(LOG_LEVELS.join(', ')).default('info'),
    readBy: [...ALL, 'migrate'],
    about: 'what is logged',
  },
  LOG_FORMAT: {
    value: z.enum(LOG_FORMATS).describe(LOG_FORMATS.join(' or ')).optional(),
    readBy: [...ALL, 'migrate'],
    about: 'how; without it text on a terminal, and elsewhere JSON lines',
  },
  SENTRY_DSN: {
    value: z.string().regex(DSN).describe('a Sentry DSN, as in https://key@host/1').optional(),
    readBy: RUNS,
    about: 'without it nothing is sent to Sentry',
    isSecret: true,
  },
  SENTRY_TRACES_SAMPLE_RATE: {
    value: z
      .string()
      .regex(/^(0(\.\d+)?|1(\.0+)?)$/)
      .transform(Number)
      .describe('a number from 0 to 1')
      .default(1),
    readBy: RUNS,
    about: 'the share of runs that are traced',
  },
  SENTRY_RELEASE: {
    value: z.string().describe('a text').optional(),
    readBy: RUNS,
    about: 'the release that Sentry shows',
  },
} as const satisfies Record<string, Setting>;

type Table = typeof SETTINGS;

export type SettingName = keyof Table;
export type Settings = { [Name in SettingName]: z.infer<Table[Name]['value']> };

/** What a command reads. */
export type SettingsOf<Command extends CommandName> = Pick<
  Settings,
  { [Name in SettingName]: Command extends Table[Name]['readBy'][number] ? Name : never }[SettingName]
>;

type PlannedName = {
  [Name in SettingName]: Table[Name] extends { plan: string } ? Name : never;
}[SettingName];
type PlanArguments = {
  [Name in PlannedName as Table[Name]['plan']]: NonNullable<Settings[Name]> | null;
};

const NAMES = Object.keys(SETTINGS) as SettingName[];

export const isSetting = (name: string): name is SettingName => Object.hasOwn(SETTINGS, name);

/** A setting, typed as any of them may be. */
export const settingNamed = (name: SettingName): Setting => SETTINGS[name];

/** The names of the settings that a command reads, in the order of the table. */
export function settingsOf<Command extends CommandName>(command: Command): (keyof SettingsOf<Command>)[] {
  return NAMES.filter((name) => settingNamed(name).readBy.includes(command)) as (keyof SettingsOf<Command>)[];
}

/** The settings that plan_identity_run takes, under the names of its arguments. */
export function planArguments(settings: Pick<Settings, PlannedName>): PlanArguments {
  const planned = NAMES.flatMap((name) => {
    const { plan } = settingNamed(name);
    return plan === undefined ? [] : [[plan, settings[name as PlannedName] ?? null]];
  });
  return Object.fromEntries(planned);
}

/**
 * Reads the named settings from the environment, where a flag of the same meaning beats it. Values that are missing or not
 * allowed raise one UsageError, with a line each that names the variable, the value (never a secret's) and what is allowed.
 */
export async function readSettings<Name extends SettingName>(
  names: readonly Name[],
  flags: Partial<Record<SettingName, string>>,
  environment: NodeJS.ProcessEnv,
): Promise<Pick<Settings, Name>> {
  const settings = {} as Pick<Settings, Name>;
  const refusals = misspeltIn(environment);
  for (const name of names) {
    // An empty variable has its default, as in a compose file's `NAME=${NAME}`; only a flag can be wrongly empty.
    const value = flags[name] ?? (environment[name] || undefined);
    const read = await settingNamed(name).value.safeParseAsync(value);
    if (read.success) settings[name] = read.data as Settings[Name];
    else refusals.push(refusal(name, value, read.error));
  }
  const { PARTITION_INDEX: index, PARTITION_COUNT: count } = settings as Partial<Settings>;
  if (index !== undefined && count !== undefined && index >= count) {
    refusals.push(`PARTITION_INDEX is ${index}; allowed: less than PARTITION_COUNT, which is ${count}`);
  }
  if (refusals.length > 0) throw new UsageError(refusals.join('\n'));
  return settings;
}

/**
 * Names the variables that are nearly ours, so that no misspelt DRY_RUN writes. Where ours is set too, the other is
 * another program's.
 */
function misspeltIn(environment: NodeJS.ProcessEnv): string[] {
  return Object.keys(environment).flatMap((given) => {
    if (given in SETTINGS) return [];
    const meant = NAMES.find((name) => !environment[name] && isNearly(given.toUpperCase(), name));
    return meant === undefined ? [] : [`${given} is no variable of identity-sync; did you mean ${meant}?`];
  });
}

/** Whether a name is meant: one letter of a short name, or two of a longer one, are wrong, missing or swapped. */
function isNearly(given: string, name: string): boolean {
  const most = name.length < 8 ? 1 : 2;
  if (Math.abs(given.length - name.length) > most) return false;
  let [before, last]: [number[], number[]] = [[], Array.from({ length: name.length + 1 }, (_, at) => at)];
  for (let row = 1; row <= given.length; row++) {
    const now = [row];
    for (let at = 1; at <= name.length; at++) {
      const isSame = given[row - 1] === name[at - 1];
      const isSwapped = given[row - 1] === name[at - 2] && given[row - 2] === name[at - 1];
      now[at] = Math.min(last[at]! + 1, now[at - 1]! + 1, last[at - 1]! + (isSame ? 0 : 1));
      if (row > 1 && at > 1 && isSwapped) now[at] = Math.min(now[at]!, before[at - 2]! + 1);
    }
    [before, last] = [last, now];
  }
  return last[name.length]! <= most;
}

function refusal(name: SettingName, value: string | undefined, error: z.ZodError): string {
  const { value: schema, isSecret } = settingNamed(name);
  const shown =
    value === undefined ? 'not set' : isSecret ? 'not usable' : JSON.stringify(shownOf(name, value));
  const [issue] = error.issues;
  const fault = issue?.code === 'custom' ? issue.params?.fault : undefined;
  return `${name} is ${shown}; allowed: ${allowedBy(schema)}${fault ? ` (${fault})` : ''}`;
}

/** A value as it is shown: what stands before an @ may hold a password, also where it is no URL, and a query a token. */
export function shownOf<Value>(name: SettingName, value: Value): Value | string {
  if (typeof value !== 'string') return value;
  const shown = value.replace(/^([a-z+.-]+:\/\/)?.+@/is, '$1');
  return name.endsWith('_URL') ? shown.replace(/[?#].*$/s, '') : shown;
}

/** What a setting is where it is not set; undefined where it has to be, or is off. */
export const defaultOf = ({ value }: Setting): unknown => value.safeParse(undefined).data;

/** What a setting allows, in words. */
export function allowedBy(schema: z.ZodType): string {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional)
    return allowedBy(schema.unwrap() as z.ZodType);
  return schema.description ?? '';
}
