import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { getClient } from '@sentry/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DSN, type EndedCall, type Observer, type RunTrace, startSentry } from '../../src/observe/sentry.js';
import { type SentryReceiver, startSentryReceiver } from '../support/sentry-receiver.js';

const RUN: RunTrace = { runId: '7', traceId: '4bf92f3577b34da6a3ce929d0e0e4736' };
const RUN_SPAN_ID = '4bf92f3577b34da6';
const NINE = Date.parse('2026-11-02T09:00:00Z');

const CALL: EndedCall = {
  startedAt: NINE,
  latencyMs: 1900,
  batchSize: 500,
  status: 200,
  failure: null,
  cacheStats: null,
};

const FAILED = {
  batchId: '3',
  batchSize: 500,
  countedAs: 'lml_error',
  status: 503,
  failure: 'LML answered 503',
};

const REPORT = {
  run_id: 7,
  scope: 'due',
  dry_run: false,
  outcome: 'completed',
  outcome_reason: null,
  started_at: '2026-11-02T09:00:00.25+00:00',
  finished_at: '2026-11-02T09:02:00.75+00:00',
  scanned: 3,
  rows_resolved: 2,
  rows_skipped: { compilation: 1, lml_error: 0 },
  identity: { inserted: 2 },
  held_ids: [512],
};

test.each([
  ['is not even loaded without a DSN', undefined, false],
  ['is loaded with one', 'http://publickey@127.0.0.1:9/4711', true],
])('the SDK %s', async (_, dsn, isLoaded) => {
  const coverage = await mkdtemp(join(tmpdir(), 'loaded-'));
  const story = `observer.callEnded(${JSON.stringify(RUN)}, ${JSON.stringify(CALL)}); await observer.close();`;
  const { status } = await otherProcess(dsn, story, { NODE_V8_COVERAGE: coverage });
  expect(status).toBe(0);
  // V8 names every script that was loaded, in a file for each thread.
  const files = await readdir(coverage);
  const texts = await Promise.all(files.map((file) => readFile(join(coverage, file), 'utf8')));
  await rm(coverage, { recursive: true });
  expect(texts.some((scripts) => scripts.includes('/src/observe/sentry.ts'))).toBe(true);
  expect(texts.some((scripts) => scripts.includes('/node_modules/@sentry/'))).toBe(isLoaded);
});

describe('with a DSN', () => {
  let receiver: SentryReceiver;
  let observer: Observer;

  beforeEach(async () => {
    receiver = await startSentryReceiver();
    observer = await startSentry(settingsFor(receiver));
  });
  afterEach(async () => {
    await observer.close();
    await receiver.close();
  });

  test('a run is one span over all of it, with the numbers of its report', async () => {
    observer.runEnded(RUN, REPORT);
    await observer.close();
    const [run, ...others] = receiver.spans();
    expect(others).toEqual([]);
    expect(run).toMatchObject({
      name: 'library-identity-consumer.run',
      trace_id: RUN.traceId,
      span_id: RUN_SPAN_ID,
      start_timestamp: NINE / 1000 + 0.25,
      end_timestamp: NINE / 1000 + 120.75,
      status: 'ok',
    });
    expect(run).not.toHaveProperty('parent_span_id');
    expect(run!.attributes).toMatchObject({
      'sentry.op': 'job.run',
      'sentry.segment.id': RUN_SPAN_ID,
      'sentry.release': 'v1',
      'sentry.environment': 'production',
    });
    expect(consumerAttributes(run!.attributes)).toEqual({
      'consumer.run_id': 7,
      'consumer.scope': 'due',
      'consumer.dry_run': false,
      'consumer.outcome': 'completed',
      'consumer.started_at': REPORT.started_at,
      'consumer.finished_at': REPORT.finished_at,
      'consumer.scanned': 3,
      'consumer.rows_resolved': 2,
      'consumer.rows_skipped.compilation': 1,
      'consumer.rows_skipped.lml_error': 0,
      'consumer.identity.inserted': 2,
    });
  });

  test.each(['failed', 'stopped'])('a run that %s is a span that did not go well', async (outcome) => {
    observer.runEnded(RUN, { ...REPORT, outcome });
    await observer.close();
    expect(receiver.spans()).toMatchObject([{ status: 'error' }]);
  });

  test('a call is a span below its run, with the numbers of the answer and no others', async () => {
    observer.callEnded(RUN, {
      ...CALL,
      cacheStats: { pg_hits: 12, api_time_ms: 3.5, note: 'warm', nested: {} },
    });
    await observer.close();
    const [call] = receiver.spans();
    expect(call).toMatchObject({
      name: 'lml.bulk_resolve_libraries',
      trace_id: RUN.traceId,
      parent_span_id: RUN_SPAN_ID,
      start_timestamp: NINE / 1000,
      end_timestamp: NINE / 1000 + 1.9,
      status: 'ok',
    });
    expect(call!.attributes).toMatchObject({ 'sentry.op': 'http.client' });
    expect(lmlAttributes(call!.attributes)).toEqual({
      'lml.batch_size': 500,
      'lml.status': 200,
      'lml.cache.pg_hits': 12,
      'lml.cache.api_time_ms': 3.5,
    });
  });

  test.each<[string, Partial<EndedCall>, Record<string, unknown>]>([
    ['was refused', { status: 503 }, { 'lml.batch_size': 500, 'lml.status': 503 }],
    [
      'had no answer',
      { status: null, failure: 'no whole answer within 30000 ms' },
      { 'lml.batch_size': 500, 'lml.failure': 'no whole answer within 30000 ms' },
    ],
    [
      'had half an answer',
      { failure: 'the call failed: ECONNRESET' },
      { 'lml.batch_size': 500, 'lml.status': 200, 'lml.failure': 'the call failed: ECONNRESET' },
    ],
  ])('a call that %s is a span that did not go well', async (_, came, attributes) => {
    observer.callEnded(RUN, { ...CALL, ...came });
    await observer.close();
    const [call] = receiver.spans();
    expect(call!.status).toBe('error');
    expect(lmlAttributes(call!.attributes)).toEqual(attributes);
  });

  test('each of 1,500 calls of a run is reported', async () => {
    for (let calls = 0; calls < 1500; calls++) observer.callEnded(RUN, CALL);
    await observer.close();
    expect(receiver.spans()).toHaveLength(1500);
    expect(receiver.texts[0]).toContain('"content-encoding":"gzip"');
  });

  test('the spans of several processes are one trace, whichever of them ends the run', async () => {
    observer.callEnded(RUN, CALL);
    await observer.close();
    const { status } = await otherProcess(
      receiver.dsn,
      `
      observer.callEnded(${JSON.stringify(RUN)}, ${JSON.stringify(CALL)});
      observer.runEnded(${JSON.stringify(RUN)}, ${JSON.stringify(REPORT)});
      await observer.close();`,
    );
    expect(status).toBe(0);

    const spans = receiver.spans();
    const [run] = spans.filter(({ name }) => name === 'library-identity-consumer.run');
    const calls = spans.filter(({ name }) => name === 'lml.bulk_resolve_libraries');
    expect(calls).toHaveLength(2);
    expect(new Set(spans.map(({ trace_id }) => trace_id))).toEqual(new Set([RUN.traceId]));
    expect(calls.map(({ parent_span_id }) => parent_span_id)).toEqual([run!.span_id, run!.span_id]);
  });

  test('a batch that failed is an error in the trace of its run, by kind and not by words', async () => {
    observer.batchFailed(RUN, FAILED);
    observer.batchFailed(RUN, { ...FAILED, batchId: '4', failure: 'LML answered 503: try later' });
    observer.batchFailed(RUN, {
      ...FAILED,
      countedAs: 'writer_error',
      status: null,
      failure: 'deadlock detected',
    });
    await observer.close();
    const errors = receiver.errors();
    expect(errors).toMatchObject([
      {
        level: 'error',
        release: 'v1',
        environment: 'production',
        exception: { values: [{ type: 'BatchFailed', value: 'LML answered 503 (a batch of 500)' }] },
        fingerprint: ['BatchFailed', 'lml_error', '503'],
        tags: { run_id: '7', batch_id: '3', counted_as: 'lml_error', status: '503' },
        contexts: { trace: { trace_id: RUN.traceId, parent_span_id: RUN_SPAN_ID } },
      },
      { fingerprint: ['BatchFailed', 'lml_error', '503'], tags: { batch_id: '4' } },
      { fingerprint: ['BatchFailed', 'writer_error', 'none'], tags: { status: 'none' } },
    ]);
  });

  test('protocol drift is an error for each kind that there was', async () => {
    observer.protocolDrifted(RUN, '3', {
      invalid_verdict: 2,
      lml_cardinality_mismatch: 0,
      lml_untrusted_library_id: 1,
    });
    await observer.close();
    expect(receiver.errors()).toMatchObject([
      {
        exception: { values: [{ type: 'ProtocolDrift', value: '2 invalid_verdict' }] },
        fingerprint: ['ProtocolDrift', 'invalid_verdict'],
        tags: { run_id: '7', batch_id: '3', kind: 'invalid_verdict' },
      },
      { fingerprint: ['ProtocolDrift', 'lml_untrusted_library_id'] },
    ]);
  });

  test('each warning of a run is one event, of one issue whatever its names', async () => {
    observer.runEnded(RUN, {
      ...REPORT,
      warnings: ['LML named what this service does not know: source deezer'],
    });
    await observer.close();
    expect(receiver.errors()).toMatchObject([
      {
        level: 'warning',
        message: 'LML named what this service does not know: source deezer',
        fingerprint: ['RunWarning', 'LML named what this service does not know'],
        tags: { run_id: '7' },
      },
    ]);
  });

  test.each(['ok', 'error'] as const)(
    'a scheduled run checks in when it begins, and with %s at its end',
    async (end) => {
      observer.checkedIn(RUN, { status: 'in_progress', cron: '17 3 * * *', maxMinutes: 120 });
      observer.checkedIn(RUN, { status: end, cron: '17 3 * * *', maxMinutes: 120 });
      await observer.close();
      const checkIn = {
        check_in_id: RUN.traceId,
        monitor_slug: 'library-identity-sync',
        monitor_config: {
          schedule: { type: 'crontab', value: '17 3 * * *' },
          timezone: 'UTC',
          checkin_margin: 30,
          max_runtime: 120,
        },
        contexts: { trace: { trace_id: RUN.traceId } },
      };
      expect(receiver.checkIns()).toMatchObject([
        { ...checkIn, status: 'in_progress' },
        { ...checkIn, status: end },
      ]);
    },
  );

  test('a scheduled run that could not be opened checks in as an error of its own', async () => {
    observer.checkedIn(null, { status: 'error', cron: '17 3 * * *', maxMinutes: 120 });
    await observer.close();
    const [checkIn] = receiver.checkIns();
    expect(checkIn).toMatchObject({ status: 'error', check_in_id: expect.stringMatching(/^[0-9a-f]{32}$/) });
    expect(checkIn!.check_in_id).not.toBe(RUN.traceId);
  });

  test('no secret leaves, and nothing about this machine', async () => {
    const words = [
      'cannot reach postgres://sync:hunter2@db.example/wxyc',
      'LML answered 400: {"authorization": "Bearer tok-hunter3"}',
      'refused: Authorization: hunter4; bearer hunter5',
    ];
    for (const failure of words) {
      observer.batchFailed(RUN, { ...FAILED, failure });
      observer.callEnded(RUN, { ...CALL, failure });
      observer.runEnded(RUN, { ...REPORT, outcome_reason: failure });
    }
    await observer.close();
    const received = receiver.texts.join('\n');
    expect(received).toContain('cannot reach postgres://db.example/wxyc');
    expect(received).not.toMatch(/hunter\d/);
    expect(received).not.toContain(JSON.stringify(hostname()));
    expect(received).not.toContain(userInfo().homedir);
    expect(received).not.toMatch(/server_name|"modules"|"breadcrumbs"|"user"|"request"/);
  });

  test('what the process does besides is not recorded, and its requests are as they were', async () => {
    const headers = await headersOfARequest();
    expect(headers).not.toHaveProperty('sentry-trace');
    expect(getClient()!.getIntegrationNames()).toEqual(['SpanStreaming']);
    await observer.close();
    expect([...receiver.spans(), ...receiver.errors()]).toEqual([]);
  });

  test.each([
    [1, 1],
    [0, 0],
  ])('at a sample rate of %s, %s of the spans and every error is reported', async (rate, spans) => {
    await observer.close();
    const sampling = await startSentry({ ...settingsFor(receiver), SENTRY_TRACES_SAMPLE_RATE: rate });
    sampling.callEnded(RUN, CALL);
    sampling.batchFailed(RUN, FAILED);
    await sampling.close();
    expect(receiver.spans()).toHaveLength(spans);
    expect(receiver.errors()).toHaveLength(1);
  });

  test('a run is sampled with all of its spans or none, by the id of its trace', async () => {
    await observer.close();
    const sampling = await startSentry({ ...settingsFor(receiver), SENTRY_TRACES_SAMPLE_RATE: 0.5 });
    const low = { runId: '8', traceId: 'aaaaaaaaaaaa4aaa8aaa7ffffffffff0' };
    const high = { runId: '9', traceId: 'aaaaaaaaaaaa4aaa8aaa800000000001' };
    for (const run of [low, high]) {
      sampling.callEnded(run, CALL);
      sampling.callEnded(run, CALL);
      sampling.runEnded(run, REPORT);
    }
    await sampling.close();
    expect(receiver.spans().map(({ trace_id }) => trace_id)).toEqual(Array(3).fill(low.traceId));
  });

  test('a report that fails is dropped, and the next one is sent', async () => {
    expect(() => observer.runEnded(RUN, null as never)).not.toThrow();
    expect(() => observer.callEnded(null as never, CALL)).not.toThrow();
    observer.callEnded(RUN, CALL);
    await observer.close();
    expect(receiver.spans()).toHaveLength(1);
  });
});

test('a DSN that is none costs nothing but the reports, and is not printed', async () => {
  const story = `observer.batchFailed(${JSON.stringify(RUN)}, ${JSON.stringify(FAILED)}); await observer.close();`;
  const { status, printed, complained } = await otherProcess('https://hunter6.example/1', story);
  expect(status).toBe(0);
  expect(complained).toContain('the DSN is none');
  expect(printed + complained).not.toContain('hunter6');
});

test('a Sentry that does not listen breaks nothing', async () => {
  const receiver = await startSentryReceiver();
  await receiver.close();
  const observer = await startSentry(settingsFor(receiver));
  observer.batchFailed(RUN, FAILED);
  await observer.close();
});

test('a Sentry that is silent holds the end of the process up for two seconds at most', async () => {
  const receiver = await startSentryReceiver({ silent: true });
  const { status, printed } = await otherProcess(
    receiver.dsn,
    `observer.batchFailed(${JSON.stringify(RUN)}, ${JSON.stringify(FAILED)});
     const begun = performance.now();
     await observer.close();
     const closed = performance.now();
     process.on('exit', () => console.log(closed - begun, performance.now() - closed));`,
  );
  await receiver.close();
  expect(status).toBe(0);
  expect(receiver.texts).toHaveLength(1);
  const [closing, lingering] = printed.split(' ').map(Number);
  expect(closing).toBeLessThan(4000);
  expect(lingering).toBeLessThan(3000);
});

test.each([
  ['https://abc123@o1.ingest.sentry.example/42', true],
  ['http://abc:def@127.0.0.1:9000/sentry/42', true],
  ['https://o1.ingest.sentry.example/42', false],
  ['https://abc@o1.ingest.sentry.example', false],
  ['https://abc@o1.ingest.sentry.example/project', false],
  ['ftp://abc@o1.ingest.sentry.example/42', false],
  ['', false],
])('a DSN is distinguished from what is none: %s', (text, isDsn) => {
  expect(DSN.test(text)).toBe(isDsn);
});

function settingsFor(receiver: SentryReceiver | undefined) {
  return { SENTRY_DSN: receiver?.dsn, SENTRY_TRACES_SAMPLE_RATE: 1, SENTRY_RELEASE: 'v1' };
}

const only = (prefix: string) => (attributes: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(attributes).filter(([name]) => name.startsWith(prefix)));
const consumerAttributes = only('consumer.');
const lmlAttributes = only('lml.');

/** Runs a story in a process of its own and returns its exit status, standard output and standard error. */
async function otherProcess(
  dsn: string | undefined,
  story: string,
  environment: Record<string, string> = {},
) {
  const settings = JSON.stringify({ SENTRY_DSN: dsn, SENTRY_TRACES_SAMPLE_RATE: 1, SENTRY_RELEASE: 'v1' });
  const program = `
    const { startSentry } = await import('${new URL('../../src/observe/sentry.ts', import.meta.url)}');
    const observer = await startSentry(${settings});
    ${story}`;
  const node = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [printed, complained] = await Promise.all([
    text(node.stdout),
    text(node.stderr),
    once(node, 'close'),
  ]);
  return { status: node.exitCode, printed, complained };
}

/** Makes an ordinary request of this process and returns the headers that arrived. */
async function headersOfARequest() {
  const server = createServer((request, response) => response.end(JSON.stringify(request.headers)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  const headers = (await answer.json()) as Record<string, string>;
  server.close();
  return headers;
}
