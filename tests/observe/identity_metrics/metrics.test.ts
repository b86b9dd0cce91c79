import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createMetrics } from '../../../src/observe/metrics.js';
import { connectProbes } from '../../../src/observe/probes.js';
import { VERSION } from '../../../src/version.js';
import {
  answerOf,
  call,
  claim,
  credit,
  plan,
  resolveAll,
  settle,
  shelve,
  shelveAll,
  verdict,
} from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();
let closing: (() => Promise<unknown>)[];

beforeEach(async () => {
  closing = [];
  await database.sql`
    truncate
      identity_sync.run, identity_sync.planning_hold, identity_sync.settlement, identity_sync.attempt,
      identity_sync.quarantined_verdict, wxyc_schema.library
      cascade`;
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});

test('totals are what was applied for real, under the keys of the report', async () => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Juana Molina');
  const runId = await plan(database.sql);
  const { batch_id, request } = await claim(database.sql, runId);
  const [autechre, stereolab, sessa, juana] = idsOf(request);
  const verdicts = [
    verdict.resolved(autechre!),
    verdict.unresolved(stereolab!),
    verdict.compilation(sessa!),
    verdict.invalid(juana!),
  ];
  await settle(database.sql, batch_id, { body: answerOf(verdicts) });
  await call(database.sql, 'apply_identity_response', {
    body: answerOf([verdict.resolved(autechre!), verdict.resolved(stereolab!)]),
    requested: null,
  });

  const metrics = await scrape();
  expect(nonZero(metrics, 'identity_sync_rows_total')).toEqual({
    'identity_sync_rows_total{key="rows_resolved"}': 3,
    'identity_sync_rows_total{key="rows_unresolved"}': 1,
    'identity_sync_rows_total{key="compilation"}': 1,
    'identity_sync_rows_total{key="invalid_verdict"}': 1,
  });
  expect(nonZero(metrics, 'identity_sync_identity_total')).toEqual({
    'identity_sync_identity_total{key="inserted"}': 2,
    'identity_sync_identity_total{key="changed"}': 1,
  });
  expect(nonZero(metrics, 'identity_sync_source_total')).toEqual({
    'identity_sync_source_total{key="inserted"}': 2,
    'identity_sync_source_total{key="unchanged"}': 1,
  });
});

test('a settlement whose run was deleted counts, too', async () => {
  await shelveAll(database.sql, 'Autechre');
  const { batch_id, request } = await claim(database.sql, await plan(database.sql));
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  await database.sql`update identity_sync.settlement set run_id = null, batch_id = null`;
  await database.sql`delete from identity_sync.run`;
  expect(nonZero(await scrape(), 'identity_sync_rows_total')).toEqual({
    'identity_sync_rows_total{key="rows_resolved"}': 1,
  });
});

test('a run counts once, while it is open, when it is over, and when its batches are pruned', async () => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab');
  const runId = await plan(database.sql, { batch_size: 1 });
  const settleNext = async () => {
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });
  };
  const rows = async () => nonZero(await scrape(), 'identity_sync_rows_total');
  const resolved = 'identity_sync_rows_total{key="rows_resolved"}';

  await settleNext();
  expect(await rows()).toEqual({ [resolved]: 1 });
  await settleNext();
  expect(await rows()).toEqual({ [resolved]: 2 });
  await database.sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  await call(database.sql, 'prune_identity_sync', { keep_days: 30 });
  expect(await rows()).toEqual({ [resolved]: 2 });
});

test('every key of the report is there from the start, and what was scanned is the sum of its outcomes', async () => {
  const [row] = await database.sql<[{ report: Record<string, unknown>; kinds: string[] }]>`
    select identity_sync_private.empty_report() as report,
           array(select jsonb_object_keys(identity_sync.identity_metrics() -> 'totals') order by 1) as kinds`;
  expect(row.kinds).toEqual(['compilation_track', 'identity', 'rows', 'source', 'source_rows']);
  const [counted] = await database.sql`
    select metrics -> 'open_batches' as batches, metrics -> 'quarantined' as quarantined, metrics -> 'runs' as runs,
      metrics -> 'planning_holds' as holds
    from identity_sync.identity_metrics() as metrics`;
  expect(counted).toEqual({
    batches: { open: 0, in_flight: 0, answered: 0 },
    quarantined: { invalid_verdict: 0, writer_error: 0, lml_untrusted_library_id: 0, poison_input: 0 },
    runs: { completed: 0, failed: 0, stopped: 0 },
    holds: { paused: 0, key_refused: 0, brake: 0 },
  });
  const keys = Object.entries(row.report).flatMap(([key, value]) =>
    typeof value === 'object' && value ? Object.keys(value) : [key],
  );
  const totals = Object.entries(await scrape()).filter(([name]) => name.includes('_total{key='));
  expect(totals.map(([, value]) => value)).toEqual(totals.map(() => 0));
  expect(totals.map(([name]) => /"(.*)"/.exec(name)![1]).sort()).toEqual(
    keys.filter((key) => key !== 'scanned').sort(),
  );
});

test('runs are counted by outcome, and the last one over the catalogue says how it ended and how long it took', async () => {
  await plan(database.sql);
  await shelve(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
  await database.sql`
    update identity_sync.run set started_at = finished_at - interval '90 seconds' where run_id = ${runId}`;
  await plan(database.sql, { ids: [], scope: 'ids' });
  await plan(database.sql, { dry_run: true });
  expect(await scrape()).toMatchObject({
    'identity_sync_runs_total{outcome="completed"}': 2,
    'identity_sync_runs_total{outcome="stopped"}': 1,
    'identity_sync_runs_total{outcome="failed"}': 0,
    'identity_sync_last_run_outcome{outcome="stopped"}': 1,
    'identity_sync_last_run_outcome{outcome="completed"}': 0,
    identity_sync_last_run_duration_seconds: 90,
  });
});

test('a dry run counts for nothing', async () => {
  await shelve(database.sql, 'Autechre');
  const { batch_id, request } = await claim(database.sql, await plan(database.sql, { dry_run: true }));
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  const metrics = await scrape();
  expect(nonZero(metrics, 'identity_sync_rows_total')).toEqual({});
  expect(metrics).not.toHaveProperty('identity_sync_last_success_age_seconds');
});

test('what is written from a preview counts once, though its run was dry and is over', async () => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab');
  const runId = await plan(database.sql, { dry_run: true });
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  await call(database.sql, 'apply_identity_preview', { run_id: runId });
  const metrics = await scrape();
  expect(nonZero(metrics, 'identity_sync_rows_total')).toEqual({
    'identity_sync_rows_total{key="rows_resolved"}': 2,
  });
  expect(nonZero(metrics, 'identity_sync_identity_total')).toEqual({
    'identity_sync_identity_total{key="inserted"}': 2,
  });
});

test('what is due is counted by cohort, with the parameters of the process', async () => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab', { artist: 'Sessa', canonical: false });
  await credit(database.sql, await shelve(database.sql, 'Various Artists - Rock - B'), 'Juana Molina');
  expect(await scrape()).toMatchObject({
    'identity_sync_due_rows{cohort="non_va"}': 2,
    'identity_sync_due_rows{cohort="va"}': 1,
  });
  expect(await scrape({ INCLUDE_NULL_CANONICAL: true })).toMatchObject({
    'identity_sync_due_rows{cohort="non_va"}': 3,
  });
});

test('what is open and in flight is counted over all runs; a lease that ran out is no call', async () => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Juana Molina');
  const runId = await plan(database.sql, { batch_size: 1 });
  const done = await claim(database.sql, runId);
  await settle(database.sql, done.batch_id, { body: resolveAll(done.request) });
  await claim(database.sql, runId, { leased_by: 'one' });
  const dead = await claim(database.sql, runId, { leased_by: 'two' });
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() - interval '1 second'
    where batch_id = ${dead.batch_id}`;
  const metrics = await scrape();
  expect(samplesOf(metrics, 'identity_sync_open_batches')).toEqual({
    'identity_sync_open_batches{state="open"}': 1,
    'identity_sync_open_batches{state="in_flight"}': 2,
    'identity_sync_open_batches{state="answered"}': 0,
  });
  expect(metrics.identity_sync_lml_calls_in_flight).toBe(1);
});

test('quarantine is counted as long as it is open', async () => {
  const autechre = await shelve(database.sql, 'Autechre');
  const { batch_id } = await claim(database.sql, await plan(database.sql));
  await settle(database.sql, batch_id, { body: answerOf([verdict.invalid(autechre)]) });
  expect(await scrape()).toMatchObject({
    'identity_sync_quarantined_verdicts{outcome="invalid_verdict"}': 1,
    'identity_sync_quarantined_verdicts{outcome="writer_error"}': 0,
  });
  await call(database.sql, 'release_identity', { library_id: autechre, reason: 'seen to' });
  await database.sql`update identity_sync.quarantined_verdict set closed_at = now(), closed_reason = 'seen to'`;
  expect(await scrape()).toMatchObject({
    'identity_sync_quarantined_verdicts{outcome="invalid_verdict"}': 0,
  });
});

test('the last success has an age once there was one, also where runs have failed since', async () => {
  expect(await scrape()).not.toHaveProperty('identity_sync_last_success_age_seconds');
  await plan(database.sql);
  await database.sql`update identity_sync.run set finished_at = clock_timestamp() - interval '1 hour'`;
  await shelve(database.sql, 'Autechre');
  const { batch_id } = await claim(database.sql, await plan(database.sql));
  await settle(database.sql, batch_id, { status: 404 });
  const metrics = await scrape();
  expect(metrics.identity_sync_last_success_age_seconds).toBeGreaterThanOrEqual(3600);
  expect(metrics.identity_sync_last_success_age_seconds).toBeLessThan(3660);
});

test('a hold on planning is there to be seen', async () => {
  await database.sql`insert into identity_sync.planning_hold (name, reason) values ('brake', 'all unresolved')`;
  expect(await scrape()).toMatchObject({
    'identity_sync_planning_hold{hold="brake"}': 1,
    'identity_sync_planning_hold{hold="key_refused"}': 0,
  });
});

test('the database is counted once in a while, however often it is scraped', async () => {
  const probes = connect();
  expect(parse(await probes.metrics())).toMatchObject({ 'identity_sync_due_rows{cohort="non_va"}': 0 });
  await shelve(database.sql, 'Autechre');
  expect(parse(await probes.metrics())).toMatchObject({ 'identity_sync_due_rows{cohort="non_va"}': 0 });
  expect(await scrape()).toMatchObject({ 'identity_sync_due_rows{cohort="non_va"}': 1 });
});

test('a count that came to nothing after a while is not begun again by the next scrape', async () => {
  let counts = 0;
  const metrics = createMetrics(async () => {
    counts++;
    await sleep(200);
    throw new Error('no answer within 200 ms');
  });
  for (let scrape = 0; scrape < 3; scrape++) {
    expect((await metrics.scrape()).text).toMatch(/^identity_sync_database_up 0$/m);
  }
  expect(counts).toBe(1);
});

test('calls are counted by the process that made them, at once and by status', async () => {
  const [one, other] = [connect(), connect()];
  await one.metrics();
  one.observeCall(1900, 200);
  one.observeCall(300, 503);
  one.observeCall(30_000, null);
  expect(parse(await one.metrics())).toMatchObject({
    'identity_sync_lml_call_duration_seconds_count{status="200"}': 1,
    'identity_sync_lml_call_duration_seconds_sum{status="200"}': 1.9,
    'identity_sync_lml_call_duration_seconds_bucket{le="1",status="200"}': 0,
    'identity_sync_lml_call_duration_seconds_bucket{le="2",status="200"}': 1,
    'identity_sync_lml_call_duration_seconds_count{status="503"}': 1,
    'identity_sync_lml_call_duration_seconds_count{status="none"}': 1,
  });
  const theirs = parse(await other.metrics());
  expect(Object.keys(theirs).filter((name) => name.includes('lml_call_duration'))).toEqual([]);
});

test('without the database, its metrics are absent rather than old, and the calls stay', async () => {
  const silent = createServer();
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  silent.close();
  const probes = connect({}, Object.assign(new URL(database.url), { port: String(port) }).href);
  probes.observeCall(300, 200);
  const metrics = parse(await probes.metrics());
  expect(metrics).toMatchObject({
    identity_sync_database_up: 0,
    'identity_sync_lml_call_duration_seconds_count{status="200"}': 1,
  });
  expect(Object.keys(metrics).filter((name) => !name.includes('lml_call'))).toEqual([
    'identity_sync_database_up',
    `identity_sync_build_info{version="${VERSION}"}`,
  ]);
});

test('every metric says what it is, under a name of the service', async () => {
  await plan(database.sql);
  const probes = connect();
  probes.observeCall(300, 200);
  const { text } = await probes.metrics();
  const names = [...text.matchAll(/^# TYPE (\S+) (counter|gauge|histogram)$/gm)].map(([, name]) => name!);
  expect(names).toEqual([
    'identity_sync_database_up',
    'identity_sync_rows_total',
    'identity_sync_source_rows_total',
    'identity_sync_identity_total',
    'identity_sync_source_total',
    'identity_sync_compilation_track_total',
    'identity_sync_due_rows',
    'identity_sync_open_batches',
    'identity_sync_quarantined_verdicts',
    'identity_sync_lml_calls_in_flight',
    'identity_sync_planning_hold',
    'identity_sync_runs_total',
    'identity_sync_last_run_outcome',
    'identity_sync_last_run_duration_seconds',
    'identity_sync_last_success_age_seconds',
    'identity_sync_lml_call_duration_seconds',
    'identity_sync_build_info',
  ]);
  for (const name of names) expect(text).toMatch(new RegExp(`^# HELP ${name} \\S.{20,}\\.$`, 'm'));
  const samples = Object.keys(parse({ text })).map((name) =>
    name.replace(/\{.*|_(bucket|sum|count)(?=\{)/g, ''),
  );
  expect(new Set(samples)).toEqual(new Set(names));
});

interface Parameters {
  INCLUDE_NULL_CANONICAL?: boolean;
}

function connect(parameters: Parameters = {}, url = database.url) {
  const probes = connectProbes(url, {
    migrations: [],
    maxAgeHours: 26,
    LML_TIMEOUT_MS: 30_000,
    THROTTLE_MS: 100,
    STATUS_PAGE: false,
    STALE_THRESHOLD_DAYS: 7,
    UNRESOLVED_RETRY_DAYS: 30,
    INCLUDE_NULL_CANONICAL: false,
    ...parameters,
  });
  closing.push(() => probes.close());
  return probes;
}

/** What a process that was just started says. */
async function scrape(parameters?: Parameters) {
  return parse(await connect(parameters).metrics());
}

/** The samples of the text format, by name and labels as they stand there; a line that is none is an error. */
function parse({ text }: { text: string }): Record<string, number> {
  const samples = text.split('\n').filter((line) => line && !line.startsWith('#'));
  return Object.fromEntries(
    samples.map((line) => {
      const [, name, value] = /^(identity_sync_\w+(?:\{[^{}]*\})?) ([\d.e+-]+)$/.exec(line) ?? [];
      if (!name) throw new Error(`not a sample: ${JSON.stringify(line)}`);
      return [name, Number(value)];
    }),
  );
}

function samplesOf(metrics: Record<string, number>, name: string) {
  return Object.fromEntries(Object.entries(metrics).filter(([sample]) => sample.startsWith(`${name}{`)));
}

function nonZero(metrics: Record<string, number>, name: string) {
  return Object.fromEntries(Object.entries(samplesOf(metrics, name)).filter(([, value]) => value !== 0));
}

function idsOf(request: string): number[] {
  const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
  return inputs.map(({ library_id }) => library_id);
}
