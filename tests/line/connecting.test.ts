// What connects by psql connects here, as safely, by either driver; or it is refused by name. psql is the oracle.
import { execFile, execFileSync } from 'node:child_process';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { connectDatabase } from '../../src/database/connect.js';
import { connectPool } from '../../src/database/pool.js';
import { cli } from '../support/cli.js';
import { type BreakableServer, startServerToBreak } from '../support/faults.js';

const has = (program: string) => {
  try {
    execFileSync(program, program === 'openssl' ? ['version'] : ['--version']);
    return true;
  } catch {
    return false;
  }
};
const reason = ['psql', 'openssl'].filter((program) => !has(program)).join(' and ');

interface Place {
  user: string;
  password: string;
  port: string;
  directory: string;
}

let place: Place;
let server: BreakableServer;

describe.skipIf(reason !== '')(`beside psql${reason && ` (skipped: no ${reason} here)`},`, () => {
  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'line-'));
    await chmod(directory, 0o777);
    server = await startServerToBreak(18);
    const { username, password, port } = new URL(server.url);
    place = { user: username, password, port, directory };
    await makeCertificates(directory);
    const sql = postgres(server.url, { max: 1, onnotice: () => {} });
    await sql.unsafe(`alter system set unix_socket_directories = '${directory}'`);
    for (const [name, file] of [
      ['ssl_cert_file', 'server.pem'],
      ['ssl_key_file', 'server.key'],
    ])
      await sql.unsafe(`alter system set ${name} = '${join(directory, file!)}'`);
    await sql.unsafe('alter system set ssl = on');
    await sql.unsafe(`create database "a b+c"`);
    await sql.unsafe(`create role "o'neil@home" login superuser password 'p@ss/w#rd?100%&='`);
    await sql.end();
    await server.restart('fast');
    await writeFile(
      join(directory, 'passwords'),
      `127.0.0.1:${port}:*:nobody:no\n*:${port}:postgres:${username}:${password}\n`,
      { mode: 0o600 },
    );
  });
  afterAll(async () => {
    await server?.end();
    if (place) await rm(place.directory, { recursive: true });
  });
  afterEach(() => vi.unstubAllEnvs());

  const at = (rest: string) => (p: Place) =>
    `postgres://${p.user}:${p.password}@${rest.replace('PORT', p.port).replaceAll('DIR', p.directory)}`;
  const forms: [string, (p: Place) => string, ((p: Place) => Record<string, string>)?][] = [
    ['no sslmode', at('127.0.0.1:PORT/postgres')],
    ['disable', at('127.0.0.1:PORT/postgres?sslmode=disable')],
    ['prefer', at('127.0.0.1:PORT/postgres?sslmode=prefer')],
    ['require', at('127.0.0.1:PORT/postgres?sslmode=require')],
    ['require, with a CA that signed', at('127.0.0.1:PORT/postgres?sslmode=require&sslrootcert=DIR/ca.pem')],
    ['require, with another CA', at('127.0.0.1:PORT/postgres?sslmode=require&sslrootcert=DIR/other.pem')],
    ['verify-ca by another name', at('127.0.0.1:PORT/postgres?sslmode=verify-ca&sslrootcert=DIR/ca.pem')],
    ['verify-full by another name', at('127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/ca.pem')],
    ['verify-full', at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/ca.pem')],
    [
      'verify-full, with another CA',
      at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/other.pem'),
    ],
    [
      'verify-full without a file',
      at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/none.pem'),
    ],
    ['ssl=true', at('127.0.0.1:PORT/postgres?ssl=true')],
    ['a mode that there is not', at('127.0.0.1:PORT/postgres?sslmode=bogus')],
    ['a parameter that there is not', at('127.0.0.1:PORT/postgres?uselibpqcompat=true')],
    ['an encoded database', at('127.0.0.1:PORT/a%20b%2Bc')],
    ['a database that is not there', at('127.0.0.1:PORT/nowhere')],
    [
      'a login full of signs',
      (p) => `postgres://o%27neil%40home:p%40ss%2Fw%23rd%3F100%25%26%3D@127.0.0.1:${p.port}/postgres`,
    ],
    ['a login half encoded', (p) => `postgres://o%27neil%40home:p@ss/w#rd@127.0.0.1:${p.port}/postgres`],
    ['a % that is no escape', (p) => `postgres://${p.user}:100%@127.0.0.1:${p.port}/postgres`],
    ['a wrong password', (p) => `postgres://${p.user}:wrong@127.0.0.1:${p.port}/postgres`],
    [
      'a socket in the query',
      (p) => `postgres://${p.user}:${p.password}@:${p.port}/postgres?host=${p.directory}`,
    ],
    [
      'a socket as the host',
      (p) => `postgres://${p.user}:${p.password}@${encodeURIComponent(p.directory)}:${p.port}/postgres`,
    ],
    ['a socket that is not there', (p) => `postgres://${p.user}@/postgres?host=${p.directory}/none`],
    [
      'everything in the query',
      (p) =>
        `postgres:///?host=127.0.0.1&port=${p.port}&user=${p.user}&password=${p.password}&dbname=postgres`,
    ],
    [
      'the query beats the host',
      (p) => `postgres://${p.user}:${p.password}@db.invalid:1/postgres?host=127.0.0.1&port=${p.port}`,
    ],
    ['PGSSLMODE', at('127.0.0.1:PORT/postgres'), () => ({ PGSSLMODE: 'disable' })],
    [
      'PGSSLROOTCERT',
      at('127.0.0.1:PORT/postgres?sslmode=verify-ca'),
      (p) => ({ PGSSLROOTCERT: `${p.directory}/other.pem` }),
    ],
    [
      'PGHOST, PGPORT, PGUSER and PGPASSWORD',
      () => 'postgres:///postgres',
      (p) => ({ PGHOST: '127.0.0.1', PGPORT: p.port, PGUSER: p.user, PGPASSWORD: p.password }),
    ],
    [
      'PGPASSFILE',
      (p) => `postgres://${p.user}@127.0.0.1:${p.port}/postgres`,
      (p) => ({ PGPASSFILE: `${p.directory}/passwords` }),
    ],
    [
      'PGPASSFILE, and another database',
      (p) => `postgres://${p.user}@127.0.0.1:${p.port}/template1`,
      (p) => ({ PGPASSFILE: `${p.directory}/passwords` }),
    ],
    ['application_name', at('127.0.0.1:PORT/postgres?application_name=me')],
    ['PGOPTIONS', at('127.0.0.1:PORT/postgres'), () => ({ PGOPTIONS: '-c work_mem=9MB' })],
  ];

  test.each(forms)(
    '%s: connects where psql connects, with TLS where psql has it',
    async (_form, urlOf, environment) => {
      const [url, set] = [urlOf(place), environment?.(place) ?? {}];
      for (const [name, text] of Object.entries(set)) vi.stubEnv(name, text);
      const said = await psqlSays(url, set);
      expect(await sessionSays(url)).toBe(said);
      expect(await poolSays(url)).toBe(said);
    },
  );

  test('migrate goes the same way', async () => {
    await migrate(at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/ca.pem')(place));
    await migrate(
      `postgres://${place.user}:${place.password}@:${place.port}/postgres?host=${place.directory}`,
    );
    await expect(
      migrate(at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/other.pem')(place)),
    ).rejects.toThrow('is not signed by whom sslrootcert');
  });

  test.each([
    [
      'a wrong password',
      (p: Place) => `postgres://${p.user}:hunter2@127.0.0.1:${p.port}/postgres`,
      (p: Place) =>
        `the database refuses the password of postgres at 127.0.0.1:${p.port} (28P01). DATABASE_URL says where and who.`,
    ],
    [
      'no such database',
      at('127.0.0.1:PORT/nowhere'),
      (p: Place) =>
        `there is no database nowhere at 127.0.0.1:${p.port} (3D000). DATABASE_URL says where and who.`,
    ],
    [
      'nothing that listens',
      at('127.0.0.1:1/postgres'),
      () => 'no database listens at 127.0.0.1:1 (ECONNREFUSED). DATABASE_URL says where it is.',
    ],
    ['an unknown host', at('db.invalid/postgres'), () => 'of the database'],
    [
      'another CA',
      at('localhost:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/other.pem'),
      (p: Place) =>
        `the certificate of the database at localhost:${p.port} is not signed by whom sslrootcert (${p.directory}/other.pem) names`,
    ],
    [
      'another name',
      at('127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=DIR/ca.pem'),
      (p: Place) => `the certificate of the database at 127.0.0.1:${p.port} is for another name`,
    ],
    [
      'no socket',
      (p: Place) => `postgres://${p.user}@/postgres?host=${p.directory}/none`,
      (p: Place) => `no database has its socket at ${p.directory}/none/.s.PGSQL.5432 (ENOENT)`,
    ],
  ])('%s is said in one line, with what to do, and without the password', async (_what, urlOf, words) => {
    const ended = await cli(['replay'], { DATABASE_URL: urlOf(place) });
    expect(ended.status).toBe(1);
    expect(ended.stderr.trim().split('\n')).toHaveLength(1);
    expect(ended.stderr).toContain(words(place));
    expect(ended.stderr).not.toContain(place.password);
    expect(ended.stderr).not.toContain('hunter2');
  });

  test('TLS that the server lacks is named', async () => {
    const sql = postgres(server.url, { max: 1 });
    await sql.unsafe('alter system set ssl = off');
    await sql`select pg_reload_conf()`;
    await expect
      .poll(() => psqlSays(at('127.0.0.1:PORT/postgres?sslmode=require')(place), {}))
      .toBe('refused');
    await sql.end();
    const ended = await cli(['replay'], {
      DATABASE_URL: at('127.0.0.1:PORT/postgres?sslmode=require')(place),
    });
    expect(ended.stderr).toContain(
      `the database at 127.0.0.1:${place.port} has no TLS, which sslmode=require asks for (NO_TLS)`,
    );
    expect(await sessionSays(at('127.0.0.1:PORT/postgres')(place))).toMatch(/^false /);
  });
});

const QUESTION = `select ssl || ' ' || current_database() || ' ' || current_user || ' ' || current_setting('work_mem') as said
  from pg_stat_ssl where pid = pg_backend_pid()`;

async function psqlSays(url: string, set: Record<string, string>): Promise<string> {
  const { PATH, HOME } = process.env;
  return await promisify(execFile)('psql', ['-XAtw', '-c', QUESTION, url], {
    env: { PATH, HOME, ...set },
  }).then(
    ({ stdout }) => stdout.trim(),
    () => 'refused',
  );
}

async function sessionSays(url: string): Promise<string> {
  try {
    const sql = connectDatabase(url, 1);
    const strings = Object.assign([QUESTION], { raw: [QUESTION] }) as unknown as TemplateStringsArray;
    return await sql(strings)
      .then(([row]) => row!.said as string)
      .finally(() => sql.end());
  } catch {
    return 'refused';
  }
}

async function poolSays(url: string): Promise<string> {
  try {
    const pool = connectPool(url, 1, 5000);
    return await new Promise<string>((resolve, reject) =>
      pool.query(QUESTION, (error, result) => (error ? reject(error) : resolve(result.rows[0].said))),
    ).finally(() => pool.end());
  } catch {
    return 'refused';
  }
}

/** Makes a CA, the server's certificate for localhost, and another CA. */
async function makeCertificates(directory: string): Promise<void> {
  const openssl = (command: string) => promisify(execFile)('openssl', command.split(' '), { cwd: directory });
  const make = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2';
  await openssl(`${make} -keyout ca.key -out ca.pem -subj /CN=station`);
  await openssl(`${make} -keyout other.key -out other.pem -subj /CN=other`);
  await openssl(
    'req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=localhost',
  );
  await openssl('x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem');
  // The server is an unprivileged user's, where this process is root's.
  if (process.getuid?.() === 0) await chown(join(directory, 'server.key'), 65534, 65534);
  await chmod(join(directory, 'server.key'), 0o600);
}
