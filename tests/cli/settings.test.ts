import { describe, expect, test } from 'vitest';
import { type SettingName as Name, readSettings, UsageError } from '../../src/settings.js';

/** Reads one setting from the environment or a flag. */
async function read(name: Name, value: string | undefined, flag?: string) {
  const flags = flag === undefined ? {} : { [name]: flag };
  return (await readSettings([name], flags, { [name]: value }))[name];
}

/** The message that refuses a value. */
async function refusal(name: Name, value: string | undefined, flag?: string): Promise<string> {
  try {
    await read(name, value, flag);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`${name} takes ${JSON.stringify(value)}`);
}

const numbers: [Name, byDefault: number, from: number, to: number][] = [
  ['BATCH_SIZE', 500, 1, 1000],
  ['VA_BATCH_SIZE', 100, 1, 1000],
  ['LML_CONCURRENCY', 2, 1, 32],
  ['LML_TIMEOUT_MS', 30_000, 1000, 600_000],
  ['LML_MAX_TRIES', 3, 1, 10],
  ['THROTTLE_MS', 100, 0, 60_000],
  ['STALE_THRESHOLD_DAYS', 7, 1, 3650],
  ['UNRESOLVED_RETRY_DAYS', 30, 1, 3650],
  ['RUN_DEADLINE_MINUTES', 60, 1, 1440],
  ['KEEP_DAYS', 30, 1, 3650],
];

describe.each(numbers)('%s', (name, byDefault, from, to) => {
  test(`is ${byDefault} where it is not set, or set to nothing`, async () => {
    expect(await read(name, undefined)).toBe(byDefault);
    expect(await read(name, '')).toBe(byDefault);
  });

  test(`may be ${from} to ${to}`, async () => {
    expect(await read(name, String(from))).toBe(from);
    expect(await read(name, String(to))).toBe(to);
  });

  test.each([
    from - 1,
    to + 1,
    '-0',
    '+5',
    '5.0',
    '5 ',
    ' 5',
    '0x5',
    '1e2',
    'five',
    'NaN',
    '99999999999999999999',
  ])('may not be "%s"', async (value) => {
    const allowed = `an integer from ${from} to ${to}`;
    expect(await refusal(name, String(value))).toBe(`${name} is "${value}"; allowed: ${allowed}`);
  });
});

describe('numbers that are off where they are not set', () => {
  test.each<[Name, number]>([
    ['LML_CALL_BUDGET', 1_000_000],
    ['HEALTH_PORT', 65_535],
  ])('%s', async (name, high) => {
    expect(await read(name, undefined)).toBeUndefined();
    expect(await read(name, '')).toBeUndefined();
    expect(await read(name, '1')).toBe(1);
    expect(await read(name, String(high))).toBe(high);
    for (const value of ['0', '-1', 'off', 'none']) {
      expect(await refusal(name, value)).toContain(`${name} is "${value}"; allowed: an integer from 1 to `);
    }
  });
});

describe('PLAN_CRON', () => {
  test.each([
    [undefined, '17 3 * * *'],
    ['*/15 0-6 * * 1,3', '*/15 0-6 * * 1,3'],
  ])('set to %j is %j', async (value, meaning) => {
    expect(await read('PLAN_CRON', value)).toBe(meaning);
  });

  test.each([
    ['daily', "Invalid cron pattern 'daily'"],
    ['@daily', "Invalid cron pattern '@daily'"],
    ['17 3 * *', "Invalid cron pattern '17 3 * *'"],
    ['17 3 * * * *', "Invalid cron pattern '17 3 * * * *'"],
    ['60 3 * * *', "Too large value '60' in minutes range: expected values in the range 0-59"],
    ['17 24 * * *', "Too large value '24' in hours range: expected values in the range 0-23"],
    ['17 3 0 * *', "Too small value '0' in dates range: expected values in the range 1-31"],
    ['17 3 * 13 *', "Too large value '13' in months range: expected values in the range 1-12"],
    ['5-1 3 * * *', "Invalid range '5-1' in minutes range: destination is not larger than source"],
    ['17 22-2 * * *', "Invalid range '22-2' in hours range: destination is not larger than source"],
    ['0 0 31 2 *', 'it never comes'],
    ['0 0 31 4,6,9,11 *', 'it never comes'],
  ])('may not be "%s", for a reason', async (value, reason) => {
    expect(await refusal('PLAN_CRON', value)).toBe(
      `PLAN_CRON is "${value}"; allowed: a crontab time in UTC, as in 17 3 * * * (${reason})`,
    );
  });
});

describe('SENTRY_TRACES_SAMPLE_RATE', () => {
  test.each([
    [undefined, 1],
    ['', 1],
    ['0', 0],
    ['0.25', 0.25],
    ['1.0', 1],
  ])('set to %j is %j', async (value, rate) => {
    expect(await read('SENTRY_TRACES_SAMPLE_RATE', value)).toBe(rate);
  });

  test.each(['1.01', '-0.1', 'half', '1e-1'])('may not be "%s"', async (value) => {
    expect(await refusal('SENTRY_TRACES_SAMPLE_RATE', value)).toBe(
      `SENTRY_TRACES_SAMPLE_RATE is "${value}"; allowed: a number from 0 to 1`,
    );
  });
});

test('a SENTRY_DSN that is none is refused without a word of it', async () => {
  expect(await read('SENTRY_DSN', undefined)).toBeUndefined();
  const words = await refusal('SENTRY_DSN', 'hunter2@sentry.io/42');
  expect(words).toMatch(/^SENTRY_DSN is not usable; allowed: /);
  expect(words).not.toContain('hunter2');
});

describe.each<Name>(['INCLUDE_NULL_CANONICAL', 'RECHECK', 'DRY_RUN', 'STRICT_BANDS'])('%s', (name) => {
  test.each([
    ['true', true],
    ['TRUE', true],
    ['True', true],
    ['1', true],
    ['false', false],
    ['FALSE', false],
    ['0', false],
    ['', false],
    [undefined, false],
  ])('is, set to %j, %j', async (value, meaning) => {
    expect(await read(name, value)).toBe(meaning);
  });

  test.each(['yes', 'no', 'on', 'off', '2', 'ture', ' true', 'null'])('may not be "%s"', async (value) => {
    expect(await refusal(name, value)).toBe(`${name} is "${value}"; allowed: true, 1, false, 0 or empty`);
  });
});

describe('a partition', () => {
  const partition = (index?: string, count?: string) =>
    readSettings(
      ['PARTITION_INDEX', 'PARTITION_COUNT'],
      {},
      { PARTITION_INDEX: index, PARTITION_COUNT: count },
    );

  test('is the whole by default', async () => {
    expect(await partition()).toEqual({ PARTITION_INDEX: 0, PARTITION_COUNT: 1 });
  });

  test.each([
    ['0', '4'],
    ['3', '4'],
    ['1023', '1024'],
  ])('may be %s of %s', async (index, count) => {
    expect(await partition(index, count)).toEqual({
      PARTITION_INDEX: Number(index),
      PARTITION_COUNT: Number(count),
    });
  });

  test.each([
    ['4', '4', 'PARTITION_INDEX is 4; allowed: less than PARTITION_COUNT, which is 4'],
    ['1', undefined, 'PARTITION_INDEX is 1; allowed: less than PARTITION_COUNT, which is 1'],
    ['-1', '4', 'PARTITION_INDEX is "-1"; allowed: an integer from 0 to 1023'],
    ['0', '0', 'PARTITION_COUNT is "0"; allowed: an integer from 1 to 1024'],
    ['0', '1025', 'PARTITION_COUNT is "1025"; allowed: an integer from 1 to 1024'],
  ])('may not be %s of %s', async (index, count, message) => {
    await expect(partition(index, count)).rejects.toThrow(new UsageError(message));
  });
});

describe('the address of the database', () => {
  const allowed = 'a URL that begins with postgres:// or postgresql://';

  test.each([
    'postgres://wxyc@db/station',
    'postgresql://wxyc:p%40ss@[::1]:5433/station?sslmode=require',
    'postgres:///station?host=/var/run/postgresql',
    'postgres://wxyc@%2Fvar%2Frun%2Fpostgresql/station',
    'postgres://',
  ])('may be %s', async (url) => {
    expect(await read('DATABASE_URL', url)).toBe(url);
  });

  test.each(['', undefined])('has to be there: %j', async (value) => {
    expect(await refusal('DATABASE_URL', value)).toBe(`DATABASE_URL is not set; allowed: ${allowed}`);
  });

  test.each([
    'mysql://wxyc:hunter2@db/station',
    'http://wxyc:hunter2@db/station',
    'wxyc:hunter2@db/station',
    ' ',
  ])('is refused without a word of it: %s', async (url) => {
    expect(await refusal('DATABASE_URL', url)).toBe(`DATABASE_URL is not usable; allowed: ${allowed}`);
  });

  const escapes = 'in a login, @ is written %40, / is %2F, # is %23, ? is %3F, % is %25 and a space is %20';
  test.each([
    ['postgres://wxyc:hunter2@db:99999/station', 'its port is no number up to 65535'],
    ['postgres://wxyc:hun ter2@d b/station', escapes],
    ['postgres://wxyc:p@ss/w#rd@db/station', escapes],
    ['postgres://wxyc:pa/ss@db/station', escapes],
    ['postgres://wxyc:p@ss@db/station', escapes],
    ['postgres://wxyc:hunter%2@db/station', 'a % in it that begins no escape is written %25'],
    ['postgres://wxyc:100%@db/station', 'a % in it that begins no escape is written %25'],
    ['postgres://wxyc@one,two/station', 'several hosts are not supported'],
    ['postgres://wxyc@one:5432,two:5433/station', 'several hosts are not supported'],
    ['postgres://wxyc@/station?host=one,two', 'several hosts are not supported'],
    ['postgres://db/station?keepalives=1', 'its parameter "keepalives" is not supported'],
    ['postgres://db/station?channel_binding=require', 'its parameter "channel_binding" is not supported'],
    ['postgres://db/station?uselibpqcompat=true', 'its parameter "uselibpqcompat" is not supported'],
    ...['bogus', 'no-verify', 'allow'].map((mode) => [
      `postgres://db/station?sslmode=${mode}`,
      'its sslmode is not one of disable, prefer, require, verify-ca, verify-full',
    ]),
    [
      'postgres://db/station?sslmode=verify-full&sslrootcert=/not/there.pem',
      'verify-full needs the file that sslrootcert names; "/not/there.pem" is not there',
    ],
  ])('is refused with the reason, and no word of its login: %s', async (url, reason) => {
    const message = `DATABASE_URL is not usable; allowed: ${allowed} (${reason})`;
    expect(await refusal('DATABASE_URL', url!)).toBe(message);
  });
});

test("the owner's address is none where it is not set, and is refused without a word of it", async () => {
  expect(await read('MIGRATE_DATABASE_URL', '')).toBeUndefined();
  expect(await refusal('MIGRATE_DATABASE_URL', 'mysql://owner:hunter2@db/station')).toBe(
    'MIGRATE_DATABASE_URL is not usable; allowed: a URL that begins with postgres:// or postgresql://',
  );
});

describe('the address of LML', () => {
  test.each(['http://lml.internal:8000', 'https://lml.wxyc.org/api/v1/'])('may be %s', async (url) => {
    expect(await read('LIBRARY_METADATA_URL', url)).toBe(url);
  });

  test.each(['ftp://lml.wxyc.org', 'lml.wxyc.org', 'postgres://wxyc@db/station', '/api/v1'])(
    'may not be %s',
    async (url) => {
      expect(await refusal('LIBRARY_METADATA_URL', url)).toBe(
        `LIBRARY_METADATA_URL is "${url.replace('wxyc@', '')}"; allowed: a URL that begins with http:// or https://, without user and password`,
      );
    },
  );
});

describe('the key', () => {
  test.each([
    ['sk-live_1/2+3=', 'sk-live_1/2+3='],
    ['', undefined],
    [undefined, undefined],
  ])('set to %j is %j', async (value, key) => {
    expect(await read('LML_API_KEY', value)).toBe(key);
  });

  test.each(['hunter2 ', 'hunter2\n', 'Bearer hunter2', 'hünter2', 'hunter2\0'])(
    'is refused without a word of it: %j',
    async (key) => {
      expect(await refusal('LML_API_KEY', key)).toBe(
        'LML_API_KEY is not usable; allowed: printable ASCII without blanks',
      );
    },
  );
});

describe('a flag', () => {
  test('beats the environment, right or wrong', async () => {
    expect(await read('BATCH_SIZE', '7', '8')).toBe(8);
    expect(await read('BATCH_SIZE', 'nonsense', '8')).toBe(8);
    expect(await read('DRY_RUN', 'false', 'true')).toBe(true);
    expect(await refusal('BATCH_SIZE', '7', '0')).toBe(
      'BATCH_SIZE is "0"; allowed: an integer from 1 to 1000',
    );
  });

  test('that is empty is wrong, where an empty variable is one that is not set', async () => {
    expect(await refusal('BATCH_SIZE', '7', '')).toBe('BATCH_SIZE is ""; allowed: an integer from 1 to 1000');
  });
});

test('only what is asked for is read', async () => {
  const environment = { BATCH_SIZE: '7', LML_CONCURRENCY: 'nonsense' };
  expect(await readSettings(['BATCH_SIZE'], {}, environment)).toEqual({ BATCH_SIZE: 7 });
});
