// Sentry, where a DSN is set. What happened is told afterwards, by whoever saw it, so nothing is held open meanwhile; and
// nothing leaves but numbers, ids and words without secrets, since no integration of the SDK looks around by itself.
import * as http from 'node:http';
import * as https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeOptions, Scope, Span } from '@sentry/node';
import { describeFailure, log } from './log.js';

/** What a DSN looks like. The SDK prints one that it cannot use, so it must be looked at before. */
export const DSN = /^https?:\/\/\w+(?::\w+)?@(?:\[[:.%\w]+\]|[\w.-]+)(?::\d+)?\/(?:[\w./-]+\/)?\d+$/;

export interface SentrySettings {
  dsn: string | undefined;
  tracesSampleRate: number;
  release: string | undefined;
  environment?: string | undefined;
}

/**
 * A run, as every process that has a share in it knows it. All that must be the same in each follows from the trace's
 * id, 32 hex digits that the run's row holds: the id of the run's span, whether it is sampled, and its check-in.
 */
export interface RunTrace {
  runId: string;
  traceId: string;
}

export interface EndedCall {
  startedAt: number;
  latencyMs: number;
  batchSize: number;
  status: number | null;
  failure: string | null;
  /** As SQL read it from the answer; only its numbers are told. */
  cacheStats: Record<string, unknown> | null;
}

export interface FailedBatch {
  batchId: string;
  batchSize: number;
  /** The key of rows_skipped that its rows count as. */
  countedAs: string;
  status: number | null;
  failure: string;
}

export interface CheckIn {
  status: 'in_progress' | 'ok' | 'error';
  /** When runs are planned, as a crontab's five fields in UTC. */
  cron: string;
  maxMinutes: number;
}

export interface Observer {
  /** A POST to LML is over, answered or not. */
  callEnded(run: RunTrace, call: EndedCall): void;
  /** A batch was given up. */
  batchFailed(run: RunTrace, batch: FailedBatch): void;
  /** LML broke its contract in the answer for a batch: how many results, by the key of rows_skipped. */
  protocolDrifted(run: RunTrace, batchId: string, refused: Record<string, number>): void;
  /** A run is over: to be told by one process only. */
  runEnded(run: RunTrace, report: Record<string, unknown>): void;
  /** A scheduled run began, or how it ended; NULL: none could be opened. */
  checkedIn(run: RunTrace | null, checkIn: CheckIn): void;
  /** Sends what is left, for two seconds at most. */
  close(): Promise<void>;
}

// Types of the SDK that it does not export by name.
type SpanAttributes = Parameters<Span['setAttributes']>[0];
type StreamedSpan = Parameters<NonNullable<NodeOptions['beforeSendSpan']>>[0];
type HttpModule = NonNullable<NonNullable<NodeOptions['transportOptions']>['httpModule']>;

const RUN_SPAN = 'library-identity-consumer.run';
const CALL_SPAN = 'lml.bulk_resolve_libraries';
const MONITOR = 'library-identity-sync';
const CHECK_IN_MARGIN_MINUTES = 30;
const FLUSH_MS = 2000;

const SILENT: Observer = {
  callEnded() {},
  batchFailed() {},
  protocolDrifted() {},
  runEnded() {},
  checkedIn() {},
  async close() {},
};

/**
 * Starts telling Sentry what happens. Without a DSN nothing is sent, and the SDK, 40 MB of memory, is not even loaded.
 * Whatever goes wrong in it is logged and goes no further, since observing a run must never break it.
 */
export async function startSentry(settings: SentrySettings): Promise<Observer> {
  if (!settings.dsn) return SILENT;
  try {
    return await observe(settings.dsn, settings);
  } catch (error) {
    giveUp(error);
    return SILENT;
  }
}

async function observe(dsn: string, settings: SentrySettings): Promise<Observer> {
  if (!DSN.test(dsn)) throw new Error('the DSN is none');
  const sentry = await import('@sentry/node');
  const client = sentry.initWithoutDefaultIntegrations({
    dsn,
    tracesSampleRate: settings.tracesSampleRate,
    release: settings.release,
    environment: settings.environment,
    includeServerName: false,
    sendClientReports: false,
    enableRuntimeChannelInjection: false,
    maxValueLength: 1000,
    beforeSendSpan: identifyRunSpan,
    transportOptions: { httpModule: socketsThatMayBeLeft(dsn) },
  });
  if (!client) throw new Error('the SDK did not start');

  /** Binds what is told to the run's trace, below the run's span unless that itself is told. */
  function scopeOf(run: RunTrace, parentSpanId?: string): Scope {
    const scope = new sentry.Scope();
    scope.setClient(client);
    scope.setPropagationContext({
      traceId: run.traceId,
      sampleRand: sampleRandOf(run.traceId),
      ...(parentSpanId && { parentSpanId }),
    });
    return scope;
  }

  function tellSpan(scope: Scope, span: PastSpan): void {
    const { name, op, attributes, startTime } = span;
    const told = sentry.startInactiveSpan({ name, op, attributes, startTime, scope, parentSpan: null });
    told.setStatus(span.ok ? { code: 1 } : { code: 2, message: 'internal_error' });
    told.end(span.endTime);
  }

  /** Errors of one type and kind are one issue, whatever their words and numbers. */
  function tellError(
    run: RunTrace,
    type: string,
    words: string,
    batchId: string,
    kind: Record<string, string>,
  ) {
    scopeOf(run, spanIdOf(run.traceId)).captureEvent({
      level: 'error',
      exception: { values: [{ type, value: withoutSecrets(words) }] },
      fingerprint: [type, ...Object.values(kind)],
      tags: { run_id: run.runId, batch_id: batchId, ...kind },
    });
  }

  return {
    callEnded: guarded((run, call) => {
      tellSpan(scopeOf(run, spanIdOf(run.traceId)), {
        name: CALL_SPAN,
        op: 'http.client',
        startTime: call.startedAt,
        endTime: call.startedAt + call.latencyMs,
        ok: call.status === 200 && call.failure === null,
        attributes: attributesOf('lml', {
          batch_size: call.batchSize,
          status: call.status,
          failure: call.failure,
          cache: numbersOf(call.cacheStats ?? {}),
        }),
      });
    }),

    runEnded: guarded((run, report) => {
      tellSpan(scopeOf(run), {
        name: RUN_SPAN,
        op: 'job.run',
        startTime: Date.parse(String(report.started_at)),
        endTime: Date.parse(String(report.finished_at)),
        ok: report.outcome === 'completed',
        attributes: attributesOf('consumer', report),
      });
    }),

    batchFailed: guarded((run, { batchId, batchSize, countedAs, status, failure }) => {
      const kind = { counted_as: countedAs, status: String(status ?? 'none') };
      tellError(run, 'BatchFailed', `${failure} (a batch of ${batchSize})`, batchId, kind);
    }),

    protocolDrifted: guarded((run, batchId, refused) => {
      for (const [kind, results] of Object.entries(refused)) {
        if (results > 0) tellError(run, 'ProtocolDrift', `${results} ${kind}`, batchId, { kind });
      }
    }),

    checkedIn: guarded((run, { status, cron, maxMinutes }) => {
      client.captureCheckIn(
        // The SDK makes an id where there is none.
        { monitorSlug: MONITOR, status, checkInId: run?.traceId ?? '' },
        {
          schedule: { type: 'crontab', value: cron },
          timezone: 'UTC',
          checkinMargin: CHECK_IN_MARGIN_MINUTES,
          maxRuntime: maxMinutes,
        },
        run ? scopeOf(run, spanIdOf(run.traceId)) : undefined,
      );
    }),

    async close() {
      const over = new AbortController();
      const late = sleep(FLUSH_MS, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([client.close(FLUSH_MS), late]).catch(giveUp);
      over.abort();
    },
  };
}

interface PastSpan {
  name: string;
  op: string;
  startTime: number;
  endTime: number;
  ok: boolean;
  attributes: SpanAttributes;
}

/** A run's span gets its id from the trace, so that spans of calls could name it as their parent before it was told. */
function identifyRunSpan(span: StreamedSpan): StreamedSpan {
  if (span.name !== RUN_SPAN) return span;
  const span_id = spanIdOf(span.trace_id);
  return { ...span, span_id, attributes: { ...span.attributes, 'sentry.segment.id': span_id } };
}

const spanIdOf = (traceId: string) => traceId.slice(0, 16);

/** From 0 to 1 by the trace's id alone, so that all processes sample the same runs. */
const sampleRandOf = (traceId: string) => Number.parseInt(traceId.slice(-12), 16) / 16 ** 12;

/** Names what can be told by dotted keys: numbers, flags and words without secrets, but no lists. */
function attributesOf(prefix: string, facts: object): SpanAttributes {
  const attributes: SpanAttributes = {};
  for (const [key, fact] of Object.entries(facts)) {
    const name = `${prefix}.${key}`;
    if (typeof fact === 'object' && fact !== null && !Array.isArray(fact))
      Object.assign(attributes, attributesOf(name, fact));
    else if (typeof fact === 'string') attributes[name] = withoutSecrets(fact);
    else if (typeof fact === 'number' || typeof fact === 'boolean') attributes[name] = fact;
  }
  return attributes;
}

const numbersOf = (facts: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(facts).filter(([, fact]) => typeof fact === 'number'));

/** Drops a URL's login, as describeFailure does, and the credentials of an Authorization header. */
function withoutSecrets(words: string): string {
  return describeFailure({ message: words }).message.replaceAll(
    /\b(authorization["']?\s*[:=]\s*["']?(?:\w+\s+)?|bearer\s+)[^\s"',;]+/gi,
    '$1[scrubbed]',
  );
}

/** Sockets that do not keep the process alive: one on which Sentry is silent must not hold up its end. */
function socketsThatMayBeLeft(dsn: string): HttpModule {
  const { request } = (new URL(dsn).protocol === 'https:' ? https : http) as HttpModule;
  return {
    request: (options, onResponse) => request(options, onResponse).on('socket', (socket) => socket.unref()),
  };
}

/** Keeps what goes wrong in telling from whoever tells. */
function guarded<Facts extends unknown[]>(tell: (...facts: Facts) => void): (...facts: Facts) => void {
  return (...facts) => {
    try {
      tell(...facts);
    } catch (error) {
      giveUp(error);
    }
  };
}

function giveUp(error: unknown): void {
  log.warn({ step: 'sentry', ...describeFailure(error) }, 'Sentry could not be told; the work goes on');
}
