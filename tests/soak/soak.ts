// The soak: hundreds of processes are killed at random moments, sessions cut and the server restarted, while run after
// run goes over the same records. It prints what that cost, and fails where a record was lost, history was written
// twice, or LML was asked again for what no dead process had in its hands. It takes minutes, so it is no part of `npm test`.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { retryWhileDisconnected } from '../../src/database/retry.js';
import { startStandIn } from '../../src/demo/stand-in.js';
import { cutSessions, NEVER, shelveMany, startServerToBreak } from '../support/faults.js';

const KILLS = 200;
const CUT_EVERY = 20;
const RESTART_EVERY = 50;
const ALIVE = 3;
const RECORDS = 400;
const AT_MOST_MS = 20 * 60_000;

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

interface Process {
  child: ChildProcess;
  isUp: boolean;
  hasEnded: boolean;
  ended: Promise<unknown>;
  said: string;
}

const started = performance.now();
const server = await startServerToBreak(18);
const sql = postgres(server.url, { max: 1, onnotice: () => {} });
const lml = await startStandIn({ identities: new Map(), answer: neverTheSame });
const settings = {
  DATABASE_URL: server.url,
  LIBRARY_METADATA_URL: lml.url,
  BATCH_SIZE: '5',
  LML_CONCURRENCY: '4',
  THROTTLE_MS: '0',
  PLAN_CRON: NEVER,
};

const ids = await shelveMany(sql, RECORDS);
const processes = new Set<Process>();
/** How often each record was in the hands of a process that died. */
const deaths = new Map<number, number>();
const count = { kills: 0, byThemselves: 0, cuts: 0, restarts: 0 };

try {
  while (count.kills < KILLS) {
    await planNextRun();
    while (processes.size < ALIVE) start(Math.random() < 0.7 ? ['worker'] : ['run', '--scope', 'refresh']);
    for (const process of processes) if (process.hasEnded) await bury(process);
    const victim = [...processes].find((process) => process.isUp);
    await sleep(Math.random() * 600);
    if (!victim || victim.hasEnded) continue;

    victim.child.kill('SIGKILL');
    await victim.ended;
    await bury(victim);
    count.kills += 1;
    if (count.kills % CUT_EVERY === 0) count.cuts += await query(() => cutSessions(sql));
    if (count.kills % RESTART_EVERY === 0) {
      await server.restart('immediate');
      count.restarts += 1;
    }
    giveUpWhenLate();
  }
  await carryTheRest();
  process.exitCode = await judge();
} finally {
  for (const { child } of processes) child.kill('SIGKILL');
  await Promise.all([...processes].map((process) => process.ended));
  await sql.end({ timeout: 1 });
  await lml.close();
  await server.end();
}

/** LML, which names another artist in every answer, so that every record of every run leaves one row of history. */
function neverTheSame({ index, inputs }: { index: number; inputs: { library_id: number }[] }) {
  const artist = index + 1;
  const results = inputs.map(({ library_id }) => ({
    kind: 'single_artist',
    library_id,
    main: { discogs_artist_id: artist },
    method: 'exact_match',
    confidence: 1,
    provenance: [{ source: 'discogs', method: 'exact_match', confidence: 1, external_id: String(artist) }],
  }));
  return { body: JSON.stringify({ results }), delayMs: 20 + Math.random() * 80 };
}

/** Asks the database, also while it restarts. */
function query<Result>(work: () => Promise<Result>): Promise<Result> {
  return retryWhileDisconnected(work);
}

async function planNextRun(): Promise<void> {
  await query(
    () => sql`select identity_sync.plan_identity_run(scope => 'refresh', batch_size => 5, lanes => 4)`,
  );
}

function start(command: string[]): void {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ...settings };
  const child = spawn(process.execPath, [CLI, ...command], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const begun: Process = { child, isUp: false, hasEnded: false, ended: once(child, 'close'), said: '' };
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    begun.said = (begun.said + text).slice(-2000);
    begun.isUp ||= /the worker is up|"planned"/.test(text);
  });
  void begun.ended.then(() => {
    begun.hasEnded = true;
  });
  processes.add(begun);
}

/** Notes what a dead process had in its hands, and ends its leases, so that no process waits for them. */
async function bury(dead: Process): Promise<void> {
  processes.delete(dead);
  if (dead.child.exitCode !== null && dead.child.exitCode !== 0) {
    count.byThemselves += 1;
    console.error(`ended by itself with ${dead.child.exitCode}:\n${dead.said}`);
  }
  const held = await query(
    () => sql<{ library_ids: number[] }[]>`
      update identity_sync.batch set leased_until = clock_timestamp()
      where split_part(leased_by, ':', 2) = ${String(dead.child.pid)}
      returning library_ids`,
  );
  for (const id of held.flatMap((batch) => batch.library_ids)) deaths.set(id, (deaths.get(id) ?? 0) + 1);
}

/** Lets one worker finish what is open. */
async function carryTheRest(): Promise<void> {
  for (const process of processes) {
    process.child.kill('SIGKILL');
    await process.ended;
    await bury(process);
  }
  start(['worker']);
  for (;;) {
    const open = await query(() => sql`select from identity_sync.run where finished_at is null`);
    if (open.length === 0) return;
    giveUpWhenLate();
    await sleep(200);
  }
}

function giveUpWhenLate(): void {
  if (performance.now() - started > AT_MOST_MS)
    throw new Error(`not done within ${AT_MOST_MS / 60_000} minutes`);
}

/** Prints the figures, and returns the exit status: 1 where something is not as it must be. */
async function judge(): Promise<number> {
  const [found] = await sql<Record<string, number>[]>`
    select
      (select count(*)::integer from identity_sync.run) as runs,
      (select count(*)::integer from identity_sync.run where outcome = 'completed') as completed,
      (
        select count(*)::integer from identity_sync.lml_call
        where failure is not null or (http_status is not null and http_status <> 200)
      ) as failed_calls,
      -- A record that a completed run has not applied.
      (
        select count(*)::integer
        from identity_sync.run cross join unnest(${ids}::integer[]) as record (id)
        where not exists (
          select from identity_sync.batch
          where batch.run_id = run.run_id and batch.state = 'applied' and record.id = any (batch.library_ids)
        )
      ) as lost,
      -- A batch that was applied twice, and a record whose identity one run has replaced twice.
      (
        select count(*)::integer
        from (select from identity_sync.settlement group by batch_id having count(*) > 1) as batch
      ) as applied_twice,
      (
        select count(*)::integer
        from (
          select
          from identity_sync.settlement
          join wxyc_schema.library_identity_history as history on history.history_id = any (settlement.history_ids)
          group by settlement.run_id, history.library_id
          having count(*) > 1
        ) as record
      ) as double_history,
      -- The first run finds nothing to replace, every other one replaces each record's identity once.
      (
        select (count(*) - (select count(*) - 1 from identity_sync.run) * ${ids.length})::integer
        from wxyc_schema.library_identity_history
      ) as history_too_many`;
  const { runs, ...counted } = found!;
  const asked = lml.askedIds();
  const again = ids.reduce((sum, id) => sum + (asked.get(id) ?? 0) - runs!, 0);
  const inDeadHands = [...deaths.values()].reduce((sum, times) => sum + times, 0);
  const unexcused = ids.filter((id) => (asked.get(id) ?? 0) - runs! > (deaths.get(id) ?? 0)).length;
  const neverAsked = ids.filter((id) => (asked.get(id) ?? 0) < runs!).length;

  console.table({
    'processes killed': count.kills,
    'processes that ended by themselves': count.byThemselves,
    'sessions cut': count.cuts,
    'servers restarted': count.restarts,
    'runs over all records': runs,
    'runs completed': counted.completed,
    'calls of LML': lml.calls.length,
    'calls that failed': counted.failed_calls,
    'most calls in flight (4 allowed)': lml.maxInFlight,
    'records asked again': again,
    '… that had been in dead hands': inDeadHands,
    '… that had not': unexcused,
    'records applied without being requested': neverAsked,
    'records lost': counted.lost,
    'batches applied twice': counted.applied_twice,
    'history written twice': counted.double_history,
    'history rows too many': counted.history_too_many,
    seconds: Math.round((performance.now() - started) / 1000),
  });
  const wrong =
    counted.completed !== runs ||
    lml.maxInFlight > 4 ||
    [unexcused, neverAsked, counted.lost, counted.applied_twice].some((number) => number !== 0) ||
    [counted.double_history, counted.history_too_many].some((number) => number !== 0);
  return wrong ? 1 : 0;
}
