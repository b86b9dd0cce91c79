// The one reader of a database's URL. It means what it means to psql: libpq's syntax, defaults, environment and password
// file. What it cannot mean here is named and refused, never ignored.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';

/** How a connection is encrypted, and what the server's certificate must prove. */
export interface Tls {
  mode: 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Whom to trust: certificates, `system` for those of Node, null for any server. */
  ca: string | null;
  cert: string | undefined;
  key: string | undefined;
  /** Where the certificates of `ca` come from, for messages. */
  caFrom: string;
}

/** Where a database is, and who asks. */
export interface Address {
  /** The setting that said so, for messages. */
  setting: string;
  host: string;
  port: number;
  /** The server's socket, where the host is a directory. */
  socket: string | null;
  database: string;
  user: string;
  password: string;
  applicationName: string | null;
  options: string | null;
  connectMs: number;
  tls: Tls | null;
}

/** Why a URL cannot be used. The message holds no part of the URL's login. */
export class AddressFault extends Error {}

type Environment = Record<string, string | undefined>;

// What libpq reads and we too, with the variable that stands for it.
const READ = {
  host: 'PGHOST',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  application_name: 'PGAPPNAME',
  options: 'PGOPTIONS',
} as const;

type Parameter = keyof typeof READ;

// What would change where psql connects, or how safely; what changes how psql shows things (PGTZ, …) is left alone.
const REFUSED =
  `PGHOSTADDR PGSERVICE PGSERVICEFILE PGREQUIRESSL PGSSLCRL PGSSLCRLDIR PGSSLCERTMODE PGREQUIREPEER PGREQUIREAUTH
  PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGSSLNEGOTIATION PGCHANNELBINDING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS
  PGGSSENCMODE PGKRBSRVNAME`.split(/\s+/);

/** Whether a variable says where a database is, to libpq. */
export const isVariableOfAddress = (name: string): boolean =>
  REFUSED.includes(name) || Object.values<string>(READ).includes(name);

const MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];

const DEFAULT_CONNECT_S = 10;

const URL_FORM = /^postgres(?:ql)?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s;

/** Reads the URL that a setting holds, with the environment's PG variables for what it leaves out. */
export function readAddress(
  url: string,
  setting = 'DATABASE_URL',
  environment: Environment = process.env,
): Address {
  const refused = REFUSED.find((name) => environment[name]);
  if (refused) throw new AddressFault(`${refused} is set, and is not supported`);
  const given = parametersOf(url);
  const value = (name: Parameter) => given[name] || environment[READ[name]] || undefined;
  const named = (name: Parameter) => (given[name] ? name : READ[name]);

  const port = integer(value('port') ?? '5432', named('port'), 65_535);
  const host = value('host') ?? socketDirectory(port);
  if (host.includes(',')) throw new AddressFault('several hosts are not supported');
  const user = value('user') ?? userInfo().username;
  const database = value('dbname') ?? user;
  const socket = /^[/@]/.test(host) ? `${host}/.s.PGSQL.${port}` : null;
  const place = { host, port, socket, database, user };
  const password =
    value('password') ?? passwordFromFile(value('passfile') ?? fileAtHome('.pgpass'), place) ?? '';
  const connectS = integer(
    value('connect_timeout') ?? String(DEFAULT_CONNECT_S),
    named('connect_timeout'),
    86_400,
  );
  return {
    ...place,
    setting,
    password,
    applicationName: value('application_name') ?? null,
    options: value('options') ?? null,
    connectMs: 1000 * (connectS || DEFAULT_CONNECT_S),
    tls: socket === null ? tlsOf(value, named) : null,
  };
}

/** What makes a URL unusable, or null. */
export function faultOfAddress(url: string): string | null {
  try {
    readAddress(url);
    return null;
  } catch (error) {
    if (error instanceof AddressFault) return error.message;
    throw error;
  }
}

/** The parameters that a URL sets. */
function parametersOf(url: string): Partial<Record<Parameter, string>> {
  if (!/^postgres(ql)?:\/\//.test(url)) throw new AddressFault('');
  // To libpq a login ends at the first @, and a host at the first /: the rest of a password would pass for a name.
  const address = url.replace(/\?.*$/s, '');
  if (/@.*@/s.test(address) || /\/\/[^@]*\/.*@/s.test(address) || /[\s#]/.test(address)) {
    throw new AddressFault(
      'in a login, @ is written %40, / is %2F, # is %23, ? is %3F, % is %25 and a space is %20',
    );
  }
  const parts = URL_FORM.exec(url);
  if (parts === null) throw new AddressFault('it is no URL of a database');
  const [, user, password, place = '', database, query] = parts;
  if (place.includes(',')) throw new AddressFault('several hosts are not supported');
  const at = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(place);
  if (at === null) throw new AddressFault('its host cannot be read');
  const given: Partial<Record<Parameter, string>> = {};
  const set = (name: Parameter, text: string | undefined) => {
    if (text) given[name] = decoded(text);
  };
  set('user', user);
  set('password', password);
  set('host', at[1]?.replace(/^\[(.*)\]$/, '$1'));
  set('port', at[2]);
  set('dbname', database);
  for (const parameter of query ? query.split('&') : []) {
    const [key = '', text] = parameter.split(/=(.*)/s).map(decoded);
    if (text === undefined || text.includes('\0')) throw new AddressFault('a parameter in it has no value');
    if (key === 'ssl' && text === 'true') set('sslmode', 'require');
    else if (key === 'gssencmode' && text === 'disable') continue;
    else if (key in READ) given[key as Parameter] = text;
    else throw new AddressFault(`its parameter ${JSON.stringify(key)} is not supported`);
  }
  return given;
}

function decoded(text: string): string {
  try {
    const plain = decodeURIComponent(text);
    if (!plain.includes('\0')) return plain;
  } catch {}
  throw new AddressFault('a % in it that begins no escape is written %25');
}

function integer(text: string, name: string, maximum: number): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) > maximum)
    throw new AddressFault(`its ${name} is no number up to ${maximum}`);
  return Number(text);
}

/** libpq's own default is compiled in: Debian's, or PostgreSQL's. */
function socketDirectory(port: number): string {
  const directories = ['/var/run/postgresql', '/tmp'];
  return (
    directories.find((directory) => existsSync(`${directory}/.s.PGSQL.${port}`)) ?? '/var/run/postgresql'
  );
}

const fileAtHome = (name: string) => `${homedir()}/${name}`;

function tlsOf(
  value: (name: Parameter) => string | undefined,
  named: (name: Parameter) => string,
): Tls | null {
  const mode = value('sslmode') ?? 'prefer';
  if (!MODES.includes(mode))
    throw new AddressFault(`its ${named('sslmode')} is not one of ${MODES.join(', ')}`);
  if (mode === 'disable') return null;
  const optional = (name: Parameter, file: string) => {
    const chosen = value(name) ?? (existsSync(fileAtHome(file)) ? fileAtHome(file) : undefined);
    return chosen === undefined ? undefined : fileOf(chosen, named(name));
  };
  const root = value('sslrootcert') ?? fileAtHome('.postgresql/root.crt');
  const verifies = mode.startsWith('verify');
  if (root === 'system' && mode !== 'verify-full')
    throw new AddressFault('sslrootcert=system needs sslmode=verify-full');
  const isThere = root === 'system' || existsSync(root);
  if (verifies && !isThere) {
    throw new AddressFault(
      `${mode} needs the file that sslrootcert names; ${JSON.stringify(root)} is not there`,
    );
  }
  // As to libpq: where there are certificates to trust, `require` means `verify-ca`.
  const ca =
    root === 'system' ? root : isThere && mode !== 'prefer' ? fileOf(root, named('sslrootcert')) : null;
  return {
    mode: mode === 'require' && ca !== null ? 'verify-ca' : (mode as Tls['mode']),
    ca,
    cert: optional('sslcert', '.postgresql/postgresql.crt'),
    key: optional('sslkey', '.postgresql/postgresql.key'),
    caFrom: `${named('sslrootcert')} (${root})`,
  };
}

function fileOf(path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AddressFault(
      `${name} names ${JSON.stringify(path)}, which cannot be read (${(error as { code?: string }).code})`,
    );
  }
}

/** The first line that fits in a password file, which its group and others may not read. */
function passwordFromFile(
  file: string,
  place: Pick<Address, 'host' | 'port' | 'socket' | 'database' | 'user'>,
): string | undefined {
  try {
    if ((statSync(file).mode & 0o077) !== 0) return undefined;
    const host = place.socket === null ? place.host : 'localhost';
    const wanted = [host, String(place.port), place.database, place.user];
    for (const line of readFileSync(file, 'utf8').split(/\r?\n/)) {
      if (line.startsWith('#')) continue;
      const fields = line.match(/(?:\\.|[^:\\])*(?::|$)/gs)?.map((field) => field.replace(/:$/, '')) ?? [];
      const plain = fields.map((field) => field.replaceAll(/\\(.)/gs, '$1'));
      if (wanted.every((text, index) => fields[index] === '*' || plain[index] === text)) return plain[4];
    }
  } catch {}
  return undefined;
}
