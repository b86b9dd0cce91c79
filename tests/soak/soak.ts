// The soak: three workers, an LML that misbehaves, an operator and the backend on the same rows, while workers are
// killed, sessions cut and the server restarted. Every few minutes all is let come to rest, and every table is compared
// with the model, which has lived through what was really settled and done. It is no part of `npm test`.
//   npm run soak -- [--minutes 60] [--seed 1] [--version 18]
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { retryWhileDisconnected } from '../../src/database/retry.js';
import { log } from '../../src/observe/log.js';
import { NEVER, openProxy, startServerToBreak } from '../support/faults.js';
import { Backend } from './backend.js';
import { checkBooks, compareTables } from './checks.js';
import { Fleet } from './fleet.js';
import { readActs, readGivenUp, readSettled } from './ledger.js';
import { startFaultyLml } from './lml.js';
import { Operator, Planner } from './operator.js';
import { Chance } from './random.js';
import { Retelling } from './retelling.js';
import { modelOf, shelve } from './shelf.js';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    version: { type: 'string', default: '18' },
  },
});
const [MINUTES, SEED] = [Number(flags.minutes), Number(flags.seed)];
const RECORDS = 300;
const CONCURRENCY = 6;
const ROUND_MS = 5 * 60_000;
const REST_MS = 4 * 60_000;

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
const lml = await startFaultyLml(chance, SEED);
const proxy = await openProxy(logins.worker);
const ids = shelf.map(({ id }) => id);
const backend = new Backend(logins.backend, chance, ids);
const operator = new Operator(logins.operator, chance, ids);
const planner = new Planner(logins.worker, chance, ids);
const people = [backend, operator, planner];
const settings = {
  LIBRARY_METADATA_URL: lml.url,
  LML_CONCURRENCY: String(CONCURRENCY),
  LML_TIMEOUT_MS: '3000',
  THROTTLE_MS: '0',
  PLAN_CRON: NEVER,
};
// The way of the last one can fall silent.
const fleet = new Fleet(
  [logins.worker, logins.worker, proxy.url].map((DATABASE_URL) => ({ ...settings, DATABASE_URL })),
);
const counts = { rounds: 0, restarts: 0, silences: 0, settlements: 0, acts: 0 };
const complaints: string[] = [];
let told = 0;

try {
  while (Date.now() < ends && complaints.length === 0) await round();
} finally {
  await fleet.end();
  await sql.end({ timeout: 1 });
  await lml.close();
  await proxy.shut();
  await server.end();
}
const lists = [counts, retelling.counts, Object.fromEntries(fleet.signals)];
// LML hears a moment later that a call was given up, so that it may see more than are allowed.
const inFlight = `most in flight (${CONCURRENCY} allowed)`;
console.table(Object.assign({}, ...lists, { calls: lml.calls.length, [inFlight]: lml.maxInFlight }));
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
    again(breakSomething, 4000, 20_000),
  ]);
  await rest();
  await compare();
  console.log(`${new Date().toISOString()} round ${counts.rounds}: ${counts.settlements} settlements so far`);
}

async function breakSomething(): Promise<void> {
  const kind = chance.weighed({ SIGKILL: 9, SIGTERM: 5, cut: 5, silence: 1, fast: 0.6, immediate: 0.6 });
  if (kind === 'cut') return backend.cutSession();
  if (kind === 'silence') {
    counts.silences++;
    fleet.excuse(2);
    return proxy.swallow('these');
  }
  if (kind === 'fast' || kind === 'immediate') {
    counts.restarts++;
    return server.restart(kind);
  }
  fleet.signal(chance.between(0, 2), kind);
  // Some die while they start, or while they stop.
  if (chance.is(0.2)) fleet.signal(chance.between(0, 2), 'SIGKILL');
}

/** Waits until what is open has come to its end by the workers' own means. */
async function rest(): Promise<void> {
  const began = Date.now();
  for (;;) {
    const [open] = await retryWhileDisconnected(
      () => sql`
        select
          (select count(*)::integer from identity_sync.run where finished_at is null) as runs,
          -- What a dead worker has locked, graphile-worker gives out again after four hours; it then ends at once.
          (
            select coalesce(json_agg(jobs), '[]') from graphile_worker.jobs
            where locked_at is null and attempts < max_attempts and run_at <= clock_timestamp()
          ) as jobs`,
    );
    if (open!.runs + open!.jobs.length === 0) return;
    if (Date.now() - began > REST_MS) {
      complaints.push(`after ${REST_MS / 60_000} minutes of rest there is left: ${JSON.stringify(open)}`);
      return;
    }
    await sleep(500);
  }
}

async function compare(): Promise<void> {
  const settled = await readSettled(sql, told, lml.posts);
  const acts = await readActs(sql, told);
  counts.settlements += settled.length;
  counts.acts += acts.length;
  retelling.tell(settled, acts);
  told = Math.max(told, ...[...settled, ...acts].map(({ committed }) => committed + 0.5));
  const givenUp = await readGivenUp(sql, lml.posts.splice(0), fleet.excused);
  await sql`select identity_sync.prune_identity_sync(keep_days => 30)`;
  retelling.model.prune();
  complaints.push(
    ...retelling.complaints.splice(0),
    ...fleet.complaints.splice(0),
    ...people.flatMap((person) => person.complaints.splice(0)),
    ...(await compareTables(sql, retelling.model)),
    ...givenUp,
    ...(await checkBooks(sql, settled)),
  );
  if (complaints.length > 0) await explain();
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
