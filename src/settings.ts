// Configuration: what the contract allows, by flag or environment, checked before a row is read.
import { z } from 'zod';
import { DSN } from './observe/sentry.js';

/** A wrong setting or wrong usage: the program ends with status 2 and this message. */
export class UsageError extends Error {}

const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum)
    .describe(`an integer from ${minimum} to ${maximum}`);

const TRUE = ['true', '1'];
const FALSE = ['false', '0', ''];

const flag = z
  .string()
  .transform((value) => value.toLowerCase())
  .refine((value) => TRUE.includes(value) || FALSE.includes(value))
  .transform((value) => TRUE.includes(value))
  .describe('true, 1, false, 0 or empty');

const url = (...protocols: string[]) =>
  z
    .string()
    .refine((value) => protocols.includes(URL.parse(value)?.protocol ?? ''))
    .describe(`a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);

const CRONTAB_FIELDS = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 6],
] as const;

/** Five fields of lists, ranges and steps, each within its bounds: graphile-worker would find a wrong one too late. */
function isCrontabTime(value: string): boolean {
  const fields = value.split(' ');
  return (
    fields.length === CRONTAB_FIELDS.length &&
    fields.every((field, index) =>
      field.split(',').every((part) => {
        const [, from, to] = /^(?:\*(?:\/[1-9]\d?)?|(\d{1,2})(?:-(\d{1,2}))?)$/.exec(part) ?? ['', '-1'];
        const [lowest, highest] = CRONTAB_FIELDS[index]!;
        return [from, to].every((bound) => bound === undefined || (+bound >= lowest && +bound <= highest));
      }),
    )
  );
}

const SETTINGS = {
  DATABASE_URL: url('postgres:', 'postgresql:'),
  LIBRARY_METADATA_URL: url('http:', 'https:'),
  LML_API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]*$/)
    .describe('printable ASCII without blanks')
    .optional(),
  BATCH_SIZE: integer(1, 1000).default(500),
  VA_BATCH_SIZE: integer(1, 1000).default(100),
  LML_CONCURRENCY: integer(1, 32).default(2),
  LML_TIMEOUT_MS: integer(1000, 600_000).default(30_000),
  LML_MAX_TRIES: integer(1, 10).default(3),
  THROTTLE_MS: integer(0, 60_000).default(100),
  STALE_THRESHOLD_DAYS: integer(1, 3650).default(7),
  UNRESOLVED_RETRY_DAYS: integer(1, 3650).default(30),
  RUN_DEADLINE_MINUTES: integer(1, 1440).default(120),
  LML_CALL_BUDGET: integer(1, 999_999_999).optional(),
  PLAN_CRON: z
    .string()
    .refine(isCrontabTime)
    .describe('a crontab time in UTC, as in 17 3 * * *')
    .default('17 3 * * *'),
  HEALTH_PORT: integer(1, 65_535).optional(),
  KEEP_DAYS: integer(1, 3650).default(30),
  INCLUDE_NULL_CANONICAL: flag.default(false),
  RECHECK: flag.default(false),
  DRY_RUN: flag.default(false),
  STRICT_BANDS: flag.default(false),
  PARTITION_INDEX: integer(0, 1023).default(0),
  PARTITION_COUNT: integer(1, 1024).default(1),
  SENTRY_DSN: z.string().regex(DSN).describe('a Sentry DSN, as in https://key@host/1').optional(),
  SENTRY_TRACES_SAMPLE_RATE: z
    .string()
    .regex(/^(0(\.\d+)?|1(\.0+)?)$/)
    .transform(Number)
    .describe('a number from 0 to 1')
    .default(1),
  SENTRY_RELEASE: z.string().describe('a text').optional(),
} satisfies Record<string, z.ZodType>;

const SECRETS = new Set<string>(['DATABASE_URL', 'LML_API_KEY', 'SENTRY_DSN']);

export type Settings = { [name in keyof typeof SETTINGS]: z.infer<(typeof SETTINGS)[name]> };

/**
 * Reads the named settings from the environment, where a flag of the same meaning beats it. The first value that
 * is missing or not allowed raises a UsageError that names the variable, the value (never a secret's) and what is
 * allowed.
 */
export function readSettings<Name extends keyof Settings>(
  names: readonly Name[],
  flags: Partial<Record<string, string>>,
  environment: NodeJS.ProcessEnv,
): Pick<Settings, Name> {
  const settings = {} as Pick<Settings, Name>;
  for (const name of names) {
    const schema = SETTINGS[name];
    // An empty variable is one that is not set, as in a compose file's `NAME=${NAME}`; only a flag can be wrongly empty.
    const value = flags[name] ?? (environment[name] || undefined);
    const read = schema.safeParse(value);
    if (!read.success) {
      const said = value === undefined ? 'not set' : SECRETS.has(name) ? 'not usable' : JSON.stringify(value);
      throw new UsageError(`${name} is ${said}; allowed: ${describe(schema)}`);
    }
    settings[name] = read.data as Settings[Name];
  }
  const { PARTITION_INDEX: index, PARTITION_COUNT: count } = settings as Partial<Settings>;
  if (index !== undefined && count !== undefined && index >= count) {
    throw new UsageError(
      `PARTITION_INDEX is ${index}; allowed: less than PARTITION_COUNT, which is ${count}`,
    );
  }
  return settings;
}

function describe(schema: z.ZodType): string {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional)
    return describe(schema.unwrap() as z.ZodType);
  return schema.description ?? '';
}
