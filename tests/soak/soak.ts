// The soak: three workers, an LML that misbehaves, an operator and the backend on the same rows, while workers are
// killed, sessions cut, lines silenced and the server restarted. Every few minutes all is let come to rest, and every table is compared
// with the model, which has lived through what was really settled and done. It is no part of `npm test`.
//   npm run soak -- [--minutes 60] [--seed 1] [--version 18]
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { log } from '../../src/observe/log.js';
import { GAUGES } from '../model/brake.js';
import { NEVER, startServerToBreak } from '../support/faults.js';
import { Backend } from './backend.js';
import { checkBooks, compareTables, rest } from './checks.js';
import { Commands } from './commands.js';
import { Fleet } from './fleet.js';
import { readActs, readGivenUp, readSettled } from './ledger.js';
import { startFaultyLml } from './lml.js';
import { Operator } from './operator.js';
import { Planner } from './planner.js';
import { Chance } from './random.js';
import { Retelling } from './retelling.js';
import { modelOf, shelve } from './shelf.js';
import { Trouble } from './trouble.js';
import { Flight, Way } from './ways.js';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    version: { type: 'string', default: '18' },
  },
});
const [MINUTES, SEED] = [Number(flags.minutes), Number(flags.seed)];
const RECORDS = 420;
const CONCURRENCY = 6;
const ROUND_MS = 5 * 60_000;
const REST_MS = 4 * 60_000;
const TIMEOUT_MS = 3000;
/** A lease is this much longer than its call may take. */
const LEASE_MS = TIMEOUT_MS + 10_000;
const WORKERS = 3;

console.log(`seed ${SEED}, ${MINUTES} minutes, PostgreSQL ${flags.version}`);
log.level = 'silent';
const ends = Date.now() + MINUTES * 60_000;
const chance = new Chance(SEED);
const server = await startServerToBreak(flags.version === '14' ? 14 : 18, {
  track_commit_timestamp: 'on',
  max_connections: '200',
});
const sql = postgres(server.url, { max: 1, onnotice: () => {} });
const logins = await shelve(sql, server.url, RECORDS, chance);
const shelf = await sql<{ id: number }[]>`select id from wxyc_schema.library order by id`;
const retelling = new Retelling(await modelOf(sql));
const pids = new Map<string, string>();
const lml = await startFaultyLml(chance, SEED, pids);
const flight = new Flight(CONCURRENCY);
const openPlace = async () => ({
  database: await Way.open(logins.worker),
  lml: await Way.open(lml.url, flight),
});
const places = await Promise.all(Array.from({ length: WORKERS + 1 }, openPlace));
const fleet = new Fleet(places, WORKERS, pids, {
  LML_CONCURRENCY: String(CONCURRENCY),
  LML_TIMEOUT_MS: String(TIMEOUT_MS),
  THROTTLE_MS: '0',
  PLAN_CRON: NEVER,
  RUN_DEADLINE_MINUTES: '2',
});
const ids = shelf.map(({ id }) => id);
const backend = new Backend(logins.backend, chance, ids);
const operator = new Operator(logins.operator, chance, ids);
const planner = new Planner(logins.worker, chance, ids);
const commands = new Commands(logins.operator, chance, ids, fleet, WORKERS);
const people = [backend, operator, planner, commands];
const trouble = new Trouble(chance, { places, fleet, backend, server, lml, leaseMs: LEASE_MS });
const counts = { rounds: 0, settlements: 0, acts: 0 };
const complaints: string[] = [];
let told = 0;

try {
  while (Date.now() < ends && complaints.length === 0) await round();
} finally {
  await fleet.end();
  await sql.end({ timeout: 1 });
  await lml.close();
  await Promise.all(places.flatMap(({ database, lml }) => [database.close(), lml.close()]));
  await server.end();
}
const lists = [counts, trouble.counts, retelling.counts, Object.fromEntries(fleet.signals)];
const brakes = [...retelling.model.runs.values()].flatMap(({ brakedBy }) => brakedBy ?? []);
console.table(
  Object.assign({}, ...lists, {
    ...{ calls: lml.calls.length, brakes: brakes.length, gauges: new Set(brakes).size },
    // LML may hear late, or not at all, that a call was given up: only those for which some lane still waits count.
    ...{ [`most in flight (${CONCURRENCY} allowed)`]: flight.most, 'as LML sees them': lml.maxInFlight },
  }),
);
console.table(Object.fromEntries(people.flatMap(({ counts: done }) => [...done]).sort()));
console.table(Object.fromEntries([...lml.faults].sort()));
for (const complaint of complaints.slice(0, 40)) console.error(complaint);
console.log(complaints.length === 0 ? 'all is as the model says' : `${complaints.length} complaints`);
process.exitCode = complaints.length === 0 ? 0 : 1;

/** Some minutes of trouble, then rest and the comparison. */
async function round(): Promise<void> {
  counts.rounds++;
  const until = Math.min(ends, Date.now() + ROUND_MS);
  const again = async (work: () => Promise<unknown>, low: number, high: number) => {
    while (Date.now() < until) {
      await work();
      await sleep(chance.between(low, high));
    }
  };
  await Promise.all([
    again(() => planner.plan(), 300, 2000),
    again(() => operator.operate(), 200, 1500),
    again(() => operator.operate(), 1000, 4000),
    again(() => backend.edit(), 100, 1500),
    again(() => backend.holdRows(), 1000, 8000),
    again(() => trouble.breakSomething(), 4000, 20_000),
    again(() => trouble.silenceSomebody(), 3000, 15_000),
    again(() => trouble.turnLml(until), 15_000, 40_000),
    again(() => commands.type(), 3000, 12_000),
    again(() => commands.mend(), 3000, 15_000),
  ]);
  complaints.push(...(await rest(sql, REST_MS)));
  await brake();
  await compare();
  // What mends it could hide what differs.
  await mend();
  await compare();
  console.log(`${new Date().toISOString()} round ${counts.rounds}: ${counts.settlements} settlements so far`);
}

/** Has the brake stop a run at the end, since later answers would hide what it takes back. */
async function brake(): Promise<void> {
  Object.assign(lml, { isQuiet: true, spell: chance.of(GAUGES) });
  await commands.run(['--scope', 'refresh', '--batch-size', '20']);
  Object.assign(lml, { isQuiet: false, spell: null });
  complaints.push(...(await rest(sql, REST_MS)));
}

/** Once LML is well, a run by hand completes, lifts the hold of the brake, and leaves nothing due. */
async function mend(): Promise<void> {
  lml.isQuiet = true;
  const isWell = await commands.run([]);
  lml.isQuiet = false;
  if (!isWell) complaints.push('a run by hand did not complete, though LML is well');
  const hold = await commands.holdOfBrake();
  if (hold) complaints.push(`the brake of run ${hold.run} still holds planning, though a run has completed`);
  const due = await sql`
    select library_id, attempt.outcome
    from identity_sync.identity_candidates() left join identity_sync.attempt using (library_id)`;
  if (due.length > 0) complaints.push(`still due: ${JSON.stringify(due.slice(0, 5))} of ${due.length}`);
  complaints.push(...(await rest(sql, REST_MS)));
}

async function compare(): Promise<void> {
  const settled = await readSettled(sql, told, lml.posts);
  const acts = await readActs(sql, told);
  counts.settlements += settled.length;
  counts.acts += acts.length;
  retelling.tell(settled, acts);
  const givenUp = await readGivenUp(sql, lml.posts.splice(0), fleet);
  await sql`select identity_sync.prune_identity_sync(keep_days => 30)`;
  retelling.model.prune();
  complaints.push(
    ...retelling.complaints.splice(0),
    ...fleet.complaints.splice(0),
    ...flight.complaints.splice(0),
    ...people.flatMap((person) => person.complaints.splice(0)),
    ...(await compareTables(sql, retelling.model)),
    ...givenUp,
    ...(await checkBooks(sql, settled)),
  );
  if (complaints.length > 0) await explain();
  // What has been told may be pruned while the next round goes on.
  await sql`
    update identity_sync.run
    set started_at = started_at - interval '40 days', finished_at = finished_at - interval '40 days'
    where finished_at > clock_timestamp() - interval '1 day'`;
  await sql`
    update identity_sync.quarantined_verdict set closed_at = closed_at - interval '40 days'
    where closed_at is not null`;
  const [now] = await sql`select (extract(epoch from clock_timestamp()) * 1000)::float8 as now`;
  told = now!.now;
}

/** What the service tells of the libraries that differ, since the database goes with the soak. */
async function explain(): Promise<void> {
  const ids = complaints.flatMap((complaint) => /^table \w+: (\d+)/.exec(complaint)?.[1] ?? []);
  for (const id of new Set(ids.slice(0, 5))) {
    const [told] = await sql`select identity_sync.explain_identity(${id}::integer) as explained`;
    console.error(JSON.stringify(told!.explained));
  }
  console.error(
    JSON.stringify(await sql`select run_id, scope, of_run_id, ids from identity_sync.run order by run_id`),
  );
}
