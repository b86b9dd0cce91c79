import postgres from 'postgres';
import { type Address, readAddress } from './address.js';
import { Line, LineFault, placeOf } from './line.js';

/** What asks the database: a session, a transaction or all sessions of a process. */
export type Sql = <Rows extends readonly postgres.MaybeRow[] = postgres.Row[]>(
  strings: TemplateStringsArray,
  ...parameters: postgres.SerializableParameter[]
) => Promise<postgres.RowList<Rows>>;

export interface Database extends Sql {
  end(): Promise<void>;
}

/** What the database said beside a result. */
export type Notice = postgres.Notice;

/** How long a call may take that reads or writes much: planning, pruning, and what operators do. */
export const PATIENCE_MS = 600_000;

export interface SessionOptions {
  /** Takes what our functions say beside their results; all other notices are dropped. */
  notices?: Notice[];
  patienceMs?: number;
  applicationName?: string;
  /** The setting that the URL comes from. */
  setting?: string;
  /** Whether the server is told to stop what is given up: for what only reads. */
  cancels?: boolean;
}

/**
 * Opens one session. Its startup packet holds a name and nothing else that a pooler could refuse, and every wait is bounded
 * on this side. Only text crosses it.
 */
export function openSession(url: string, options: SessionOptions = {}, onclose?: () => void): postgres.Sql {
  const { notices, patienceMs = PATIENCE_MS, applicationName = 'identity-sync', setting, cancels } = options;
  const read = readAddress(url, setting);
  const address: Address = { ...read, connectMs: Math.min(read.connectMs, patienceMs) };
  const { host, port, database, user, password } = address;
  return postgres({
    host,
    port,
    database,
    user,
    pass: password,
    max: 1,
    ssl: false,
    socket: () => new Line(address, patienceMs, cancels).connect(),
    connect_timeout: 0,
    max_lifetime: null,
    keep_alive: null,
    backoff: () => 0,
    // postgres.js reads the types of arrays in a query that it does not await: a cut meanwhile would end the process.
    fetch_types: false,
    types: ARRAYS,
    connection: {
      application_name: address.applicationName ?? applicationName,
      ...(address.options !== null && { options: address.options }),
    },
    onnotice: (notice: Notice) => {
      if (notice.code?.startsWith('LS')) notices?.push(notice);
    },
    ...(onclose && { onclose }),
  } as unknown as postgres.Options<Record<string, postgres.PostgresType>>);
}

const ARRAYS = Object.fromEntries(
  // integer[] and text[]
  [1007, 1009].map((oid) => [
    `array_${oid}`,
    {
      to: oid,
      from: [oid],
      // A statement that is prepared again comes back with its parameters as they were sent.
      serialize: (items: unknown[] | string) =>
        typeof items === 'string'
          ? items
          : `{${items.map((item) => (typeof item === 'string' ? `"${item.replaceAll(/["\\]/g, '\\$&')}"` : item)).join(',')}}`,
      parse: (text: string) => text.slice(1, -1).split(',').filter(Boolean),
    },
  ]),
);

/**
 * Opens up to so many sessions, each for one query at a time. A session that was cut or did not answer is dropped with what
 * it was asked, since postgres.js keeps a half-written query when it connects again.
 */
export function connectDatabase(url: string, sessions: number, options: SessionOptions = {}): Database {
  const address = readAddress(url, options.setting);
  const idle: postgres.Sql[] = [];
  const inUse = new Set<postgres.Sql>();
  const waiting: (() => void)[] = [];
  let isEnded = false;

  function open(): postgres.Sql {
    const session = openSession(url, options, () => {
      const at = idle.indexOf(session);
      if (at >= 0) drop(idle.splice(at, 1)[0]!);
    });
    return session;
  }
  const drop = (session: postgres.Sql) => void session.end({ timeout: 0 }).catch(() => {});

  async function ask(strings: TemplateStringsArray, ...parameters: postgres.SerializableParameter[]) {
    while (inUse.size >= sessions && !isEnded) await new Promise<void>((go) => waiting.push(go));
    if (isEnded) throw new LineFault('the sessions of this process have ended', 'CONNECTION_ENDED', false);
    const session = idle.pop() ?? open();
    inUse.add(session);
    let works = true;
    try {
      return await session(strings, ...parameters);
    } catch (error) {
      works = error instanceof postgres.PostgresError && error.severity !== 'FATAL';
      throw loginInWords(error, address);
    } finally {
      inUse.delete(session);
      if (works && !isEnded) idle.push(session);
      else drop(session);
      waiting.shift()?.();
    }
  }

  return Object.assign(ask as Sql, {
    async end() {
      isEnded = true;
      for (const go of waiting.splice(0)) go();
      await Promise.all([...idle, ...inUse].map((session) => session.end({ timeout: 2 }).catch(() => {})));
    },
  });
}

/** Says what an operator can do where a server refuses a login. */
export function loginInWords(error: unknown, address: Address): unknown {
  if (!(error instanceof Error)) return error;
  const { user, database, setting } = address;
  const where = placeOf(address);
  const words: Record<string, string> = {
    '28P01': `the database refuses the password of ${user} ${where}`,
    '28000': `the database refuses the login ${user} ${where}: ${error.message}`,
    '3D000': `there is no database ${database} ${where}`,
    SASL_SIGNATURE_MISMATCH: `the database ${where} does not know the password of ${user} itself`,
  };
  const { code } = error as { code?: string };
  const said = words[code ?? ''];
  if (said) error.message = `${said} (${code}). ${setting} says where and who.`;
  return error;
}
