// How the product grows: with the catalogue (planning, a run with nothing due, a run with little due, a whole drain), and with
// the years, after which screens, metrics and claims still take their time.
import { type Age, fillAged } from './aged.js';
import type { Answers } from './answers.js';
import { type Claims, claimAndFinish } from './claims.js';
import { identitySyncRun } from './command-line.js';
import { connect, cpuMsOf, type Database, fillCatalogue, pidOf, type Server, type Usage } from './server.js';
import { KIND_SQL } from './verdicts.js';

const DUE = 1000;

export interface Grown {
  rows: number;
  /** plan_identity_run with 1,000 rows due, in a session of its own as in production. */
  planning: number[];
  /** The whole process of a run that has these 1,000 rows to ask. */
  fewDue: Usage;
  /** The whole process of a run that has nothing to ask. */
  nothingDue: Usage[];
  /** The whole process of a run over a catalogue that was never asked, without latency. */
  drain: Usage | null;
}

/** All sizes are there at once, so that what is compared is measured side by side. */
export async function grow(
  server: Server,
  answers: Answers,
  options: { sizes: number[]; drainUpTo: number; rounds: number; say(words: string): void },
): Promise<Grown[]> {
  const { sizes, drainUpTo, rounds, say } = options;
  const grown: (Grown & { database: Database })[] = [];
  for (const rows of sizes) {
    say(`building a catalogue of ${rows} rows`);
    const database = await server.clone('migrated');
    await fillCatalogue(database.sql, rows);
    await database.sql`vacuum analyze`;
    const drain = rows <= drainUpTo ? await run(database.url, answers) : null;
    if (drain) say(`${rows} rows: drained in ${drain.seconds.toFixed(1)} s`);
    await settleAll(database.sql, rows);
    await database.sql`checkpoint`;
    grown.push({ rows, planning: [], nothingDue: [], drain, database, fewDue: {} as Usage });
  }

  for (let round = 0; round < rounds; round++) {
    for (const each of grown) each.planning.push(await plan(each.database.url));
  }
  for (const each of grown) each.fewDue = await run(each.database.url, answers, DUE);
  for (let round = 0; round < rounds; round++) {
    for (const each of grown) each.nothingDue.push(await run(each.database.url, answers, 0));
  }

  const measured = [];
  for (const { database, ...each } of grown) {
    await database.drop();
    measured.push(each);
  }
  return measured;
}

/** What is asked of a database that has seen years, and how long it may take there. */
export const ASKED = {
  'planning what is due': { seconds: 1, statement: 'select identity_sync.plan_identity_run()' },
  coverage: { seconds: 2, statement: 'select * from identity_sync.coverage' },
  gate: { seconds: 2, statement: 'select * from identity_sync.gate' },
  identity_status: { seconds: 2, statement: 'select identity_sync.identity_status()' },
  identity_page: { seconds: 1, statement: 'select identity_sync.identity_page()' },
  identity_metrics: { seconds: 1, statement: 'select identity_sync.identity_metrics()' },
  homonyms: { seconds: 1, statement: 'select * from identity_sync.homonyms' },
  identity_health: { seconds: 0.2, statement: 'select identity_sync.identity_health()' },
  explain_identity: { seconds: 0.2, statement: 'select identity_sync.explain_identity(51)' },
  quarantine: {
    seconds: 0.2,
    statement: 'select * from identity_sync.quarantine order by quarantine_id desc limit 50',
  },
  run_progress: { seconds: 0.2, statement: 'select * from identity_sync.run_progress' },
} as const;

export interface Aged extends Age {
  /** By what was asked: wall clock, and the processor's time of the session that asked, without its parallel workers. */
  asked: Record<keyof typeof ASKED, { seconds: number[]; cpuSeconds: number[] }>;
  claims: Claims;
}

/** How what people and processes ask grows with the years. Each question has a session of its own, as in production. */
export async function age(
  server: Server,
  options: Age & { rounds: number; claims: number; say(words: string): void },
): Promise<Aged> {
  const { rounds, say, claims, ...size } = options;
  say(`building ${size.rows} rows with ${size.runs} runs behind them`);
  const database = await server.clone('migrated');
  await fillAged(database.sql, size);
  await database.sql`checkpoint`;
  const names = Object.keys(ASKED) as (keyof typeof ASKED)[];
  const asked = Object.fromEntries(
    names.map((name) => [name, { seconds: [] as number[], cpuSeconds: [] as number[] }]),
  ) as Aged['asked'];
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const sql = connect(database.url);
      const pid = await pidOf(sql);
      await sql`begin`;
      const [cpu, started] = [cpuMsOf(pid), performance.now()];
      await sql.unsafe(ASKED[name].statement);
      asked[name].seconds.push((performance.now() - started) / 1000);
      asked[name].cpuSeconds.push((cpuMsOf(pid) - cpu) / 1000);
      await sql`rollback`;
      await sql.end();
    }
    say(`asked, round ${round + 1}`);
  }
  const measured = await claimAndFinish(database.url, { lanes: 32, batchSize: 10, claims });
  await database.drop();
  return { ...size, asked, claims: measured };
}

/** As if the whole catalogue had been asked yesterday, but for 1,000 identities, here and there, that are stale. */
async function settleAll(sql: Database['sql'], rows: number): Promise<void> {
  await sql`set session_replication_role = replica`;
  await sql`
    truncate wxyc_schema.library_identity, wxyc_schema.library_identity_source,
      identity_sync.attempt, identity_sync.asked_as`;
  await sql.unsafe(
    `
    insert into wxyc_schema.library_identity
      (library_id, discogs_artist_id, musicbrainz_artist_id, method, confidence, last_verified_at, notes)
    select
      id, id, md5(id::text), 'cross_source_agreement', 0.95,
      now() - case when row_number() over (order by md5(id::text)) <= $2::integer then interval '8 days' else interval '1 day' end,
      'consumer:lml-bulk'
    from (select id, ${KIND_SQL} as kind from generate_series(1, $1::integer) as id) as numbered
    where kind = 'single_artist'
    order by id`,
    [rows, DUE],
  );
  await sql.unsafe(
    `
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select id, kind, now() - interval '1 day'
    from (select id, ${KIND_SQL} as kind from generate_series(1, $1::integer) as id) as numbered
    where kind <> 'single_artist'
    order by id`,
    [rows],
  );
  await sql`
    insert into identity_sync.asked_as (library_id, fingerprint)
    select id, identity_sync_private.fingerprint(id, artist_name, album_title)
    from wxyc_schema.library
    order by id`;
  await sql`reset session_replication_role`;
  await sql`vacuum analyze`;
}

async function plan(url: string): Promise<number> {
  const sql = connect(url);
  try {
    await sql`begin`;
    const started = performance.now();
    const [{ run_id }] = await sql<[{ run_id: string }]>`select identity_sync.plan_identity_run() as run_id`;
    const seconds = (performance.now() - started) / 1000;
    const [{ planned }] = await sql<[{ planned: number }]>`
      select planned from identity_sync.run where run_id = ${run_id}`;
    if (planned !== DUE) throw new Error(`${planned} rows were due, not ${DUE}`);
    await sql`rollback`;
    return seconds;
  } finally {
    await sql.end();
  }
}

async function run(url: string, answers: Answers, due?: number): Promise<Usage> {
  const { usage, report } = await identitySyncRun([], {
    DATABASE_URL: url,
    LIBRARY_METADATA_URL: answers.url('original'),
  });
  if (due !== undefined && report.scanned !== due)
    throw new Error(`${report.scanned} rows were due, not ${due}`);
  return usage;
}
